#include "classifier.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "clock.h"
#include "gate.h"
#include "mapped_file.h"
#include "user_error.h"

namespace dsnet {

Classifier::Classifier(Unit* head, std::vector<Unit*> bodies, std::vector<double> thresholds)
    : head_(head), bodies_(std::move(bodies)), thresholds_(std::move(thresholds)) {
  if (thresholds_.size() + 1 != bodies_.size())
    throw UserError(std::to_string(bodies_.size()) + " widths do not go with " + std::to_string(thresholds_.size()) +
                    " thresholds; give one threshold fewer than widths");
  check_thresholds(thresholds_);
  for (const Unit* body : bodies_) {
    if (head_ != nullptr) check_chain(*head_, *body);
    else if (bodies_.size() > 1 || !body->reads_image())
      throw UserError("no head is loaded that could choose between widths or feed a tail; load a prefix or a gate");
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
  std::size_t chosen = 0;
  const Stopwatch watch;
  if (head_ != nullptr) {
    head_->run(image);
    answer.score = score(head_->logits(), head_->logits_count());
    chosen = choose(*answer.score, thresholds_);
    answer.prefix_ms = watch.ms();
  }
  Unit& body = *bodies_[chosen];
  body.run(body.reads_image() ? image : head_->output(0));
  answer.total_ms = watch.ms();
  answer.tail_ms = answer.total_ms - answer.prefix_ms;
  const float* logits = body.logits();
  answer.image = index;
  answer.width = *body.width();
  answer.class_index = static_cast<std::size_t>(std::max_element(logits, logits + body.logits_count()) - logits);
  return answer;
}

}  // namespace dsnet
