#include "classifier.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

#include "clock.h"
#include "mapped_file.h"
#include "softmax.h"
#include "user_error.h"

namespace dsnet {

Classifier::Classifier(std::vector<Chain> paths, const Policy& policy) : paths_(std::move(paths)), policy_(policy) {
  for (const Chain& path : paths_) {
    if (!path.front()->reads_image())
      throw UserError("unit " + path.front()->name() + " reads features; load the prefix and stages before it as well");
    check_chain(path);
    check_same_image(*paths_.front().front(), *path.front());
  }
  for (const Question& question : policy_.questions()) check(question);
}

/// What runs up to a gate must be the same whatever the gate says.
void Classifier::check(const Question& question) const {
  const Chain& one = paths_[question.positions.front()];
  const std::size_t count = question.gate + 1;
  for (const std::size_t position : question.positions) {
    const Chain& path = paths_[position];
    if (path.size() > count && std::equal(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(count), one.begin()))
      continue;
    throw UserError("no gate is loaded that could choose between widths " +
                    std::to_string(policy_.widths()[question.positions.front()]) + " to " +
                    std::to_string(policy_.widths()[question.positions.back()]) +
                    "; load the prefix, stage or gate that all of them go through");
  }
  policy_.check_gate(one[question.gate]->name(), one[question.gate]->logits_count());
}

std::size_t Classifier::run(const std::string& images, const std::function<void(const Answer&)>& report) {
  const MappedFile file(images);
  if (file.size() % image_bytes() != 0)
    throw UserError(images + ": " + std::to_string(file.size()) + " bytes are no whole number of images of " +
                    std::to_string(image_bytes()));
  warm_up();
  const std::size_t count = file.size() / image_bytes();
  // Copied before the clock starts: reading a page of the file for the first time is not the network's work.
  std::vector<std::byte> image(image_bytes());
  for (std::size_t index = 0; index < count; ++index) {
    std::memcpy(image.data(), file.data() + index * image.size(), image.size());
    report(answer(index, image.data()));
  }
  return count;
}

/// Runs every unit once on zeros, so that the first image does not pay for lazy initialisation.
void Classifier::warm_up() {
  std::set<Unit*> units;
  for (const Chain& path : paths_) units.insert(path.begin(), path.end());
  for (Unit* unit : units) unit->run(std::vector<std::byte>(unit->input().bytes).data());
}

Answer Classifier::answer(std::size_t index, const void* image) {
  Answer answer;
  answer.image = index;
  passed_.clear();
  Choice choice = policy_.first();
  Unit& head = *paths_[choice.position].front();
  const Stopwatch watch;
  if (!head.answers()) {
    run_path(paths_[choice.position], 1, image);
    if (choice.question) choice = policy_.next(*choice.question, head.logits());
    answer.prefix_ms = watch.ms();
  }
  while (choice.question) {
    const Chain& path = paths_[choice.position];
    const std::size_t gate = policy_.questions()[*choice.question].gate;
    run_path(path, gate + 1, image);
    choice = policy_.next(*choice.question, path[gate]->logits());
  }
  for (std::size_t position = choice.position;; ++position) {
    const Chain& path = paths_[position];
    run_path(path, path.size(), image);
    answer.ran.push_back(policy_.widths()[position]);
    const Logits logits = path.back()->logits();
    if (!policy_.stands(position, logits)) continue;
    answer.total_ms = watch.ms();
    answer.tail_ms = answer.total_ms - answer.prefix_ms;
    answer.class_index = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    if (!head.answers()) answer.score = score(head.logits());
    return answer;
  }
}

void Classifier::run_path(const Chain& path, std::size_t count, const void* image) {
  const auto end = path.begin() + static_cast<std::ptrdiff_t>(count);
  passed_.erase(std::mismatch(passed_.begin(), passed_.end(), path.begin(), end).first, passed_.end());
  for (std::size_t place = passed_.size(); place < count; ++place) {
    path[place]->run(input_of(path, place, image));
    passed_.push_back(path[place]);
  }
}

}  // namespace dsnet
