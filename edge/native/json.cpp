#include "json.h"

#include <set>

#include <nlohmann/json.hpp>

#include "user_error.h"

namespace dsnet {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kShownCharacters = 80;

/// Sees every event of the parser, which itself keeps the last of two equal keys and has no limit of depth.
class Watch {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (!problem_.empty()) return false;
    switch (event) {
      case Json::parse_event_t::object_start:
        keys_.emplace_back();
        [[fallthrough]];
      case Json::parse_event_t::array_start:
        if (depth < kMaxDepth) return true;
        problem_ = "nested deeper than " + std::to_string(kMaxDepth) + " levels";
        return false;
      case Json::parse_event_t::object_end:
        keys_.pop_back();
        return true;
      case Json::parse_event_t::key:
        if (!keys_.back().insert(parsed.get<std::string>()).second)
          problem_ = "key " + shown(parsed) + " appears twice in one object";
        return true;
      default:
        return true;
    }
  }

  const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

}  // namespace

Json parse_json(std::string_view text, const std::string& origin) {
  if (text.size() > kMaxJsonBytes)
    throw UserError(origin + ": larger than the limit of " + std::to_string(kMaxJsonBytes) + " bytes");
  if (text.substr(0, 3) == "\xEF\xBB\xBF") throw UserError(origin + ": not JSON: it starts with a byte order mark");
  Watch watch;
  Json value = Json::parse(
      text.begin(), text.end(), [&watch](int depth, Json::parse_event_t event, Json& parsed) {
        return watch(depth, event, parsed);
      },
      /*allow_exceptions=*/false);
  if (!watch.problem().empty()) throw UserError(origin + ": " + watch.problem());
  if (value.is_discarded()) throw UserError(origin + ": not JSON (UTF-8, finite numbers)");
  return value;
}

std::string shown(const Json& value) {
  std::string text = value.is_structured() ? (value.is_array() ? "a list" : "an object")
                                           : value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kShownCharacters) text = text.substr(0, kShownCharacters) + "...";
  return text;
}

std::optional<std::uint64_t> integer_in(const Json& value, std::uint64_t lowest, std::uint64_t highest) {
  if (!value.is_number_integer()) return std::nullopt;
  if (!value.is_number_unsigned() && value.get<std::int64_t>() < 0) return std::nullopt;
  const auto number = value.get<std::uint64_t>();
  if (number < lowest || number > highest) return std::nullopt;
  return number;
}

Fields::Fields(const Json& object, const std::string& place) : object_(object), place_(place) {
  if (!object.is_object()) throw UserError(place + ": expected an object, found " + shown(object));
}

bool Fields::has(const char* name) const {
  const auto found = object_.find(name);
  return found != object_.end() && !found->is_null();
}

std::string Fields::text(const char* name) const {
  const Json& value = field(name);
  if (!value.is_string()) refuse(name, "text", value);
  return value.get<std::string>();
}

bool Fields::flag(const char* name, bool otherwise) const {
  if (!has(name)) return otherwise;
  const Json& value = field(name);
  if (!value.is_boolean()) refuse(name, "true or false", value);
  return value.get<bool>();
}

std::uint64_t Fields::integer(const char* name, std::uint64_t lowest, std::uint64_t highest) const {
  const Json& value = field(name);
  const auto number = integer_in(value, lowest, highest);
  if (!number) refuse(name, "an integer from " + std::to_string(lowest) + " to " + std::to_string(highest), value);
  return *number;
}

std::optional<std::uint64_t> Fields::optional_integer(
    const char* name, std::uint64_t lowest, std::uint64_t highest) const {
  if (!has(name)) return std::nullopt;
  return integer(name, lowest, highest);
}

std::optional<std::string> Fields::optional_text(const char* name) const {
  if (!has(name)) return std::nullopt;
  return text(name);
}

std::vector<double> Fields::numbers(const char* name) const {
  return numbers_in(name, array(name, kMaxJsonBytes));
}

std::vector<std::vector<double>> Fields::rows(const char* name) const {
  std::vector<std::vector<double>> values;
  for (const Json& item : array(name, kMaxJsonBytes)) {
    if (!item.is_array()) refuse(name, "a list of lists of numbers", item);
    values.push_back(numbers_in(name, item));
  }
  return values;
}

std::vector<double> Fields::numbers_in(const char* name, const Json& list) const {
  std::vector<double> values;
  for (const Json& item : list) {
    if (!item.is_number()) refuse(name, "a list of numbers", item);
    values.push_back(item.get<double>());
  }
  return values;
}

std::vector<std::uint64_t> Fields::integers(const char* name, std::uint64_t lowest, std::uint64_t highest) const {
  std::vector<std::uint64_t> values;
  for (const Json& item : array(name, kMaxJsonBytes)) {
    const auto number = integer_in(item, lowest, highest);
    if (!number)
      refuse(name, "a list of integers from " + std::to_string(lowest) + " to " + std::to_string(highest), item);
    values.push_back(*number);
  }
  return values;
}

std::vector<std::string> Fields::texts(const char* name) const {
  std::vector<std::string> values;
  for (const Json& item : array(name, kMaxJsonBytes)) {
    if (!item.is_string()) refuse(name, "a list of texts", item);
    values.push_back(item.get<std::string>());
  }
  return values;
}

const Json& Fields::array(const char* name, std::size_t max_entries) const {
  const Json& value = field(name);
  if (!value.is_array()) refuse(name, "a list", value);
  if (value.size() > max_entries)
    throw UserError(place_ + ": " + name + ": " + std::to_string(value.size()) + " entries; the limit is " +
                    std::to_string(max_entries));
  return value;
}

void Fields::refuse(const std::string& name, const std::string& expected, const Json& found) const {
  throw UserError(place_ + ": " + name + ": expected " + expected + ", found " + shown(found));
}

const Json& Fields::field(const char* name) const {
  const auto found = object_.find(name);
  if (found == object_.end()) throw UserError(place_ + ": the field " + name + " is missing");
  return *found;
}

}  // namespace dsnet
