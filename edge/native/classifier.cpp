#include "classifier.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "clock.h"
#include "mapped_file.h"
#include "softmax.h"
#include "user_error.h"

namespace dsnet {

Classifier::Classifier(Unit* head, std::vector<Unit*> bodies, const Policy& policy)
    : head_(head), bodies_(std::move(bodies)), policy_(policy) {
  if (head_ != nullptr && policy_.asks_gate()) policy_.check_gate(head_->name(), head_->logits_count());
  for (const Unit* body : bodies_) {
    if (head_ != nullptr) check_chain(*head_, *body);
    else if (policy_.asks_gate() || !body->reads_image())
      throw UserError("no head is loaded that could choose between widths or feed a tail; load a prefix or a gate");
    else check_same_image(*bodies_.front(), *body);
  }
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
  for (Unit* body : bodies_) body->run(std::vector<std::byte>(body->input().bytes).data());
  if (head_ != nullptr) head_->run(std::vector<std::byte>(image_bytes()).data());
}

Answer Classifier::answer(std::size_t index, const void* image) {
  Answer answer;
  std::size_t first = 0;
  const Stopwatch watch;
  if (head_ != nullptr) {
    head_->run(image);
    if (policy_.asks_gate()) first = policy_.first(head_->logits());
    answer.prefix_ms = watch.ms();
  }
  std::size_t last = first;
  run_body(last, image);
  while (!policy_.stands(last, bodies_[last]->logits())) run_body(++last, image);
  answer.total_ms = watch.ms();
  answer.tail_ms = answer.total_ms - answer.prefix_ms;
  const Logits logits = bodies_[last]->logits();
  answer.image = index;
  if (head_ != nullptr) answer.score = score(head_->logits());
  for (std::size_t position = first; position <= last; ++position) answer.ran.push_back(*bodies_[position]->width());
  answer.class_index = static_cast<std::size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  return answer;
}

void Classifier::run_body(std::size_t position, const void* image) {
  Unit& body = *bodies_[position];
  body.run(body.reads_image() ? image : head_->output(0));
}

}  // namespace dsnet
