#include "network.h"

#include <algorithm>
#include <cstring>
#include <random>

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
  if (names.empty() || names.size() > 2) throw UserError("a block runs one unit, or a head and a body");
  Unit& first = unit(names.front());
  Unit* body = names.size() == 2 ? &unit(names.back()) : nullptr;
  if (body != nullptr) check_chain(first, *body);
  const bool asks_gate = policy != nullptr && body != nullptr && policy->asks_gate();
  if (asks_gate) policy->check_gate(first.name(), first.logits_count());
  const Unit& last = body != nullptr ? *body : first;
  const bool asks_answer = policy != nullptr && !last.is_head();
  const void* input = first.reads_image() ? image_for(first) : features_for(first);
  const void* image = body != nullptr && body->reads_image() ? image_for(*body) : nullptr;
  std::vector<double> samples(runs);
  for (double& sample : samples) {
    const Stopwatch watch;
    first.run(input);
    if (asks_gate) decision = policy->first(first.logits());
    if (body != nullptr) body->run(image != nullptr ? image : first.output(0));
    if (asks_answer) decision = policy->stands(0, last.logits());
    sample = watch.ms();
  }
  if (first.role() == Role::prefix) last_prefix_ = &first;
  return samples;
}

std::size_t Network::classify(
    const std::string& images, const Policy& policy, const std::function<void(const Answer&)>& report) {
  std::vector<Unit*> bodies;
  for (const auto width : policy.widths()) bodies.push_back(&body(width));
  const auto reads_features = [](const Unit* body) { return !body->reads_image(); };
  const bool needs_head = policy.asks_gate() || std::any_of(bodies.begin(), bodies.end(), reads_features);
  Unit* head = needs_head ? resident_head() : nullptr;
  const std::size_t count = Classifier(head, bodies, policy).run(images, report);
  if (head != nullptr && head->role() == Role::prefix) last_prefix_ = head;
  return count;
}

Unit& Network::unit(const std::string& name) {
  std::string there;
  for (const auto& unit : units_) {
    if (unit->name() == name) return *unit;
    there += (there.empty() ? "" : ", ") + unit->name();
  }
  throw UserError("no unit " + name + " is loaded; loaded: " + (there.empty() ? "none" : there));
}

Unit* Network::resident_head() const {
  const auto found = std::find_if(units_.begin(), units_.end(), [](const auto& unit) { return unit->is_head(); });
  return found == units_.end() ? nullptr : found->get();
}

Unit& Network::body(std::uint64_t width) const {
  std::string there;
  for (const auto& unit : units_) {
    if (unit->width() == width) return *unit;
    if (unit->width()) there += (there.empty() ? "" : ", ") + std::to_string(*unit->width());
  }
  throw UserError("no unit of width " + std::to_string(width) + " is loaded; loaded widths: " +
                  (there.empty() ? "none" : there));
}

const void* Network::image_for(const Unit& unit) {
  const std::size_t bytes = unit.input().bytes;
  if (image_path_.empty() && image_.size() * sizeof(float) != bytes) image_ = gaussian_noise(bytes / sizeof(float));
  if (image_.size() * sizeof(float) != bytes)
    throw UserError(image_path_ + ": " + std::to_string(image_.size() * sizeof(float)) + " bytes, but unit " +
                    unit.name() + " takes an image of " + std::to_string(bytes));
  return image_.data();
}

const void* Network::features_for(const Unit& tail) {
  if (last_prefix_ == nullptr) {
    Unit* prefix = resident_head();
    if (prefix == nullptr || prefix->role() != Role::prefix)
      throw UserError("unit " + tail.name() + " reads the features of a prefix; load the prefix as well");
    prefix->run(image_for(*prefix));
    last_prefix_ = prefix;
  }
  check_chain(*last_prefix_, tail);
  return last_prefix_->output(0);
}

}  // namespace dsnet
