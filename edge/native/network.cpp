#include "network.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "clock.h"
#include "gate.h"
#include "mapped_file.h"
#include "user_error.h"

namespace dsnet {
namespace {

/// Keeps the compiler from leaving out a decision that nobody reads.
volatile std::size_t decision;

void check_thresholds(const std::vector<double>& thresholds) {
  if (!std::is_sorted(thresholds.begin(), thresholds.end())) throw UserError("thresholds must not decrease");
}

void check_features_fit(const Unit& prefix, const Unit& tail) {
  const TensorInfo& features = prefix.outputs().front();
  if (!(features == tail.input()))
    throw UserError("unit " + tail.name() + " reads " + tail.input().text() + ", but unit " + prefix.name() +
                    " gives " + features.text() + "; load both from one artifact");
}

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
    auto& shared = weights_[*source.weights];
    if (!shared)
      shared = std::make_shared<SlicedDataMap>(
          std::make_unique<NestedStore>(source.weights->first, source.weights->second));
    slices = shared;
  }
  units_.push_back(std::make_unique<Unit>(std::move(spec), program, slices));
  if (!slices) return {*units_.back(), {}};
  // The backend has packed what it read: the store's pages would only count twice.
  slices->release_pages();
  return {*units_.back(), slices->take_served()};
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
    const std::vector<std::string>& names, std::size_t runs, const std::vector<double>& thresholds) {
  check_thresholds(thresholds);
  std::vector<Unit*> chain;
  for (const auto& name : names) chain.push_back(&unit(name));
  check_chain(chain);
  const void* first = input_of(*chain.front());
  const void* second = chain.size() == 1 ? nullptr : chain[1]->reads_image() ? image_for(*chain[1]) : nullptr;
  std::vector<double> samples;
  samples.reserve(runs);
  for (std::size_t run = 0; run < runs; ++run) {
    const Stopwatch watch;
    chain[0]->run(first);
    if (chain.size() == 2) {
      decision = choose(score(chain[0]->logits(), chain[0]->logits_count()), thresholds);
      chain[1]->run(second != nullptr ? second : chain[0]->output(0));
    }
    samples.push_back(watch.ms());
  }
  if (chain[0]->role() == Role::prefix) last_prefix_ = chain[0];
  return samples;
}

std::size_t Network::classify(
    const std::string& images, const std::vector<std::uint64_t>& widths, const std::vector<double>& thresholds,
    const std::function<void(const Answer&)>& report) {
  check_thresholds(thresholds);
  if (widths.empty() || thresholds.size() != widths.size() - 1)
    throw UserError(std::to_string(widths.size()) + " widths do not go with " + std::to_string(thresholds.size()) +
                    " thresholds; give one threshold fewer than widths");
  std::vector<Unit*> bodies;
  for (const auto width : widths) bodies.push_back(&body(width));
  const bool tails = std::any_of(bodies.begin(), bodies.end(), [](const Unit* unit) { return !unit->reads_image(); });
  Unit* head = bodies.size() > 1 || tails ? resident_head() : nullptr;
  if (head == nullptr && (bodies.size() > 1 || tails))
    throw UserError("no head is loaded that could choose between widths or feed a tail; load a prefix or a gate");
  for (Unit* unit : bodies)
    if (head != nullptr) check_chain({head, unit});

  const std::size_t bytes = (head != nullptr ? head : bodies.front())->input().bytes;
  for (const Unit* unit : bodies)
    if (unit->reads_image() && unit->input().bytes != bytes)
      throw UserError("unit " + unit->name() + " reads an image of another size than the other units");
  const MappedFile file(images);
  if (file.size() % bytes != 0)
    throw UserError(images + ": " + std::to_string(file.size()) + " bytes are no whole number of images of " +
                    std::to_string(bytes));

  // The first run of a unit pays for lazy initialisation, and the first image should not.
  std::vector<std::byte> image(std::max(bytes, std::size_t{1}));
  for (Unit* unit : bodies) unit->run(std::vector<std::byte>(unit->input().bytes).data());
  if (head != nullptr) head->run(image.data());

  const std::size_t count = file.size() / bytes;
  for (std::size_t index = 0; index < count; ++index) {
    std::memcpy(image.data(), file.data() + index * bytes, bytes);
    const Stopwatch watch;
    std::optional<double> image_score;
    if (head != nullptr) {
      head->run(image.data());
      image_score = score(head->logits(), head->logits_count());
    }
    const std::size_t chosen = image_score ? choose(*image_score, thresholds) : 0;
    Unit& unit = *bodies[chosen];
    const double decided = watch.ms();
    unit.run(unit.reads_image() ? image.data() : head->output(0));
    const double done = watch.ms();
    const float* logits = unit.logits();
    const auto top = std::max_element(logits, logits + unit.logits_count()) - logits;
    report({index, image_score, widths[chosen], static_cast<std::size_t>(top), head != nullptr ? decided : 0.0,
            done - decided, done});
  }
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

void Network::check_chain(const std::vector<Unit*>& chain) const {
  const bool pair = chain.size() == 2 && !chain[1]->is_head() &&
                    chain[0]->role() == (chain[1]->reads_image() ? Role::gate : Role::prefix);
  if (chain.size() != 1 && !pair)
    throw UserError("a chain is one unit, a prefix and a tail, or a gate and a net");
  if (pair && !chain[1]->reads_image()) check_features_fit(*chain[0], *chain[1]);
}

const void* Network::input_of(const Unit& unit) {
  if (unit.reads_image()) return image_for(unit);
  if (last_prefix_ == nullptr) {
    Unit* prefix = resident_head();
    if (prefix == nullptr || prefix->role() != Role::prefix)
      throw UserError("unit " + unit.name() + " reads the features of a prefix; load the prefix as well");
    prefix->run(image_for(*prefix));
    last_prefix_ = prefix;
  }
  check_features_fit(*last_prefix_, unit);
  return last_prefix_->output(0);
}

const void* Network::image_for(const Unit& unit) {
  const std::size_t bytes = unit.input().bytes;
  if (image_path_.empty() && image_.size() * sizeof(float) != bytes) image_ = gaussian_noise(bytes / sizeof(float));
  if (image_.size() * sizeof(float) != bytes)
    throw UserError(image_path_ + ": " + std::to_string(image_.size() * sizeof(float)) + " bytes, but unit " +
                    unit.name() + " takes an image of " + std::to_string(bytes));
  return image_.data();
}

}  // namespace dsnet
