#include "protocol.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include <nlohmann/json.hpp>

#include "canary.h"
#include "clock.h"
#include "memory.h"
#include "policy.h"
#include "runtime.h"
#include "user_error.h"

namespace dsnet {
namespace {

constexpr std::uint64_t kMaxRuns = 1'000'000;
constexpr std::uint64_t kMaxWidth = 255;
const std::string kCommand = "command";

Role read_role(const Fields& command) {
  static const std::map<std::string, Role> roles{
      {"prefix", Role::prefix}, {"stage", Role::stage}, {"tail", Role::tail}, {"gate", Role::gate}, {"net", Role::net}};
  const std::string name = command.text("role");
  const auto found = roles.find(name);
  if (found == roles.end()) command.refuse("role", "prefix, stage, tail, gate or net", name);
  return found->second;
}

Unit::Spec read_spec(const Fields& command) {
  return {command.text("unit"), read_role(command), command.integers("widths", 0, kMaxWidth), command.text("method")};
}

Network::Source read_source(const Fields& command) {
  Network::Source source{command.text("pte"), std::nullopt, command.flag("check_keys", true)};
  const auto store = command.optional_text("store"), recipe = command.optional_text("recipe");
  if (store.has_value() != recipe.has_value()) throw UserError("store and recipe go together");
  if (store) source.weights = {*store, *recipe};
  return source;
}

Json described(const std::vector<TensorInfo>& tensors) {
  Json list = Json::array();
  for (const TensorInfo& tensor : tensors) list.push_back({{"dtype", tensor.dtype}, {"shape", tensor.shape}});
  return list;
}

/// Writes one line of JSON to standard output, at once: whoever sent the command is waiting for it.
bool write_line(const Json& answer) {
  // Paths may hold bytes that are no UTF-8; an answer is JSON all the same.
  const std::string line = answer.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return std::fwrite(line.data(), line.size(), 1, stdout) == 1 && std::fflush(stdout) == 0;
}

void write_answer(const Json& answer) {
  if (!write_line(answer)) throw UserError("standard output is closed");
}

void write_file(const std::string& path, const Unit& unit) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), std::fclose);
  bool written = file != nullptr;
  for (std::size_t index = 0; written && index < unit.outputs().size(); ++index)
    written = std::fwrite(unit.output(index), unit.outputs()[index].bytes, 1, file.get()) == 1;
  if (!written || std::fflush(file.get()) != 0)
    throw UserError(path + ": cannot be written: " + std::strerror(errno));
}

}  // namespace

void write_error(const std::string& problem) { write_line({{"error", problem}}); }

void Protocol::answer(const std::string& line) {
  static const std::map<std::string, void (Protocol::*)(const Fields&)> commands{
      {"load", &Protocol::load},         {"image", &Protocol::image},     {"block", &Protocol::block},
      {"classify", &Protocol::classify}, {"outputs", &Protocol::outputs}, {"canary", &Protocol::canary},
      {"memory", &Protocol::memory}};
  forget_logged_errors();
  const Json value = parse_json(line, kCommand);
  const Fields command(value, kCommand);
  const std::string name = command.text("do");
  const auto found = commands.find(name);
  if (found == commands.end())
    command.refuse("do", "load, image, block, classify, outputs, canary or memory", name);
  (this->*found->second)(command);
}

void Protocol::load(const Fields& command) {
  const Stopwatch watch;
  const Network::Loaded loaded = network_.load(read_spec(command), read_source(command));
  write_answer({{"loaded", loaded.unit.name()},
                {"load_ms", watch.ms()},
                {"resident_bytes", dsnet::memory().resident},
                {"inputs", described(loaded.unit.inputs())},
                {"outputs", described(loaded.unit.outputs())},
                {"copied_bytes", loaded.served.copied_bytes},
                {"zero_copy", loaded.served.zero_copy}});
}

void Protocol::image(const Fields& command) {
  const std::string path = command.text("file");
  network_.set_image(path);
  write_answer({{"image", path}});
}

void Protocol::block(const Fields& command) {
  const auto units = command.texts("units");
  const std::size_t runs = command.integer("runs", 1, kMaxRuns);
  const auto policy = command.has("policy") ? read_policy(command.field("policy")) : nullptr;
  write_answer({{"samples_ms", network_.run_block(units, runs, policy.get())}});
}

void Protocol::classify(const Fields& command) {
  const auto report = [](const Answer& answer) {
    write_answer({{"image", answer.image},
                  {"score", answer.score ? Json(*answer.score) : Json(nullptr)},
                  {"width", answer.ran.back()},
                  {"ran", answer.ran},
                  {"class", answer.class_index},
                  {"prefix_ms", answer.prefix_ms},
                  {"tail_ms", answer.tail_ms},
                  {"total_ms", answer.total_ms}});
  };
  const auto policy = read_policy(command.field("policy"));
  const std::size_t count = network_.classify(command.text("images"), *policy, report);
  write_answer({{"classified", count}});
}

void Protocol::outputs(const Fields& command) {
  const Unit& unit = network_.unit(command.text("unit"));
  if (!unit.has_run()) throw UserError("unit " + unit.name() + " has not run yet; send a block with it first");
  const std::string path = command.text("to");
  write_file(path, unit);
  write_answer({{"unit", unit.name()}, {"to", path}, {"outputs", described(unit.outputs())}});
}

void Protocol::canary(const Fields&) { write_answer({{"canary_ms", canary_ms()}}); }

void Protocol::memory(const Fields&) {
  const Memory now = dsnet::memory();
  write_answer({{"resident_bytes", now.resident}, {"peak_bytes", now.peak}, {"file_bytes", now.file}});
}

}  // namespace dsnet
