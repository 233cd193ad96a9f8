#include "network.h"

#include <cstring>
#include <random>
#include <set>
#include <utility>

#include "clock.h"
#include "mapped_file.h"
#include "memory.h"
#include "user_error.h"

namespace dsnet {
namespace {

/// Keeps the compiler from leaving out a decision that nobody reads.
volatile std::size_t decision;

std::vector<float> gaussian_noise(std::size_t count) {
  std::mt19937 generator;  // the default seed: every process draws the same image
  std::normal_distribution<float> normal;
  std::vector<float> noise(count);
  for (float& value : noise) value = normal(generator);
  return noise;
}

using Questions = std::vector<std::optional<std::size_t>>;

/// Returns, for every unit of a chain, which of the policy's questions its gate is asked; nothing for the last one.
Questions questions_between(const Chain& chain, const Policy& policy) {
  Questions found(chain.size());
  for (std::size_t question = policy.questions().size(); question-- > 0;) {
    const std::size_t gate = policy.questions()[question].gate;
    if (gate + 1 >= chain.size()) continue;
    policy.check_gate(chain[gate]->name(), chain[gate]->logits_count());
    found[gate] = question;
  }
  return found;
}

}  // namespace

Network::Loaded Network::load(Unit::Spec spec, const Source& source) {
  for (const auto& unit : units_)
    if (unit->name() == spec.name) throw UserError("unit " + spec.name + " is loaded already; give it another name");
  auto& program = programs_[source.pte];
  if (!program) program = std::make_shared<ProgramFile>(source.pte);
  std::shared_ptr<const SlicedDataMap> slices;
  if (source.weights) {
    const auto& [store, recipe] = *source.weights;
    auto& shared = weights_[{store, recipe, source.check_keys}];
    if (!shared)
      shared = std::make_shared<SlicedDataMap>(std::make_unique<NestedStore>(store, recipe), source.check_keys);
    slices = shared;
  }
  units_.push_back(std::make_unique<Unit>(std::move(spec), program, slices));
  // The backend has packed what it read: the store's pages and the copies would only count twice.
  if (slices) slices->release_pages();
  release_freed_memory();
  return {*units_.back(), slices ? slices->take_served() : SlicedDataMap::Served{}};
}

void Network::set_image(const std::string& path) {
  const MappedFile file(path);
  if (file.size() % sizeof(float) != 0)
    throw UserError(path + ": " + std::to_string(file.size()) + " bytes are no whole number of float32 values");
  image_.resize(file.size() / sizeof(float));
  std::memcpy(image_.data(), file.data(), file.size());
  image_path_ = path;
}

std::vector<double> Network::run_block(
    const std::vector<std::string>& names, std::size_t runs, const Policy* policy) {
  Chain chain;
  for (const std::string& name : names) chain.push_back(&unit(name));
  if (chain.empty()) throw UserError("a block runs one unit, or several that follow one another; name them in units");
  check_chain(chain);
  const auto questions = policy != nullptr ? questions_between(chain, *policy) : Questions(chain.size());
  const bool asks_answer = policy != nullptr && chain.back()->answers();
  const void* input = input_for(*chain.front());
  std::vector<double> samples(runs);
  for (double& sample : samples) {
    const Stopwatch watch;
    for (std::size_t place = 0; place < chain.size(); ++place) {
      chain[place]->run(place == 0 ? input : input_of(chain, place, input));
      if (questions[place]) decision = policy->next(*questions[place], chain[place]->logits()).position;
    }
    if (asks_answer) decision = policy->stands(0, chain.back()->logits());
    sample = watch.ms();
  }
  return samples;
}

std::size_t Network::classify(
    const std::string& images, const Policy& policy, const std::function<void(const Answer&)>& report) {
  std::vector<Chain> paths;
  for (const auto width : policy.widths()) paths.push_back(path(width, policy.asks_gate()));
  return Classifier(std::move(paths), policy).run(images, report);
}

Unit& Network::unit(const std::string& name) {
  std::string there;
  for (const auto& unit : units_) {
    if (unit->name() == name) return *unit;
    there += (there.empty() ? "" : ", ") + unit->name();
  }
  throw UserError("no unit " + name + " is loaded; loaded: " + (there.empty() ? "none" : there));
}

Chain Network::path(std::uint64_t width, bool asks_gate) const {
  Chain path;
  std::set<std::uint64_t> there;
  for (const auto& unit : units_) {
    if (unit->answers()) there.insert(unit->widths().begin(), unit->widths().end());
    if (unit->serves(width) && (asks_gate || unit->role() != Role::gate)) path.push_back(unit.get());
  }
  if (!path.empty() && path.back()->answers()) return path;
  std::string listed;
  for (const auto other : there) listed += (listed.empty() ? "" : ", ") + std::to_string(other);
  throw UserError("no unit of width " + std::to_string(width) + " is loaded; loaded widths: " +
                  (listed.empty() ? "none" : listed));
}

const void* Network::input_for(Unit& unit) {
  if (unit.reads_image()) return image_for(unit);
  Unit& before = feeding(unit);
  check_chain({&before, &unit});
  if (!before.has_run()) before.run(input_for(before));
  return before.output(0);
}

const void* Network::image_for(const Unit& unit) {
  const std::size_t bytes = unit.input().bytes;
  if (image_path_.empty() && image_.size() * sizeof(float) != bytes) image_ = gaussian_noise(bytes / sizeof(float));
  if (image_.size() * sizeof(float) != bytes)
    throw UserError(image_path_ + ": " + std::to_string(image_.size() * sizeof(float)) + " bytes, but unit " +
                    unit.name() + " takes an image of " + std::to_string(bytes));
  return image_.data();
}

Unit& Network::feeding(const Unit& unit) const {
  Unit* found = nullptr;
  for (const auto& other : units_) {
    if (other.get() == &unit) break;
    if (other->gives_features() && !unit.widths().empty() && other->serves(unit.widths().front())) found = other.get();
  }
  if (found == nullptr)
    throw UserError("unit " + unit.name() + " reads the features of a prefix or stage; load that before it");
  return *found;
}

}  // namespace dsnet
