#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/executor/method.h>

#include "logits.h"
#include "program_file.h"
#include "sliced_data_map.h"

namespace dsnet {

/// What a program is for, see docs/bundle.md: it runs from the image, or one gate, to the next gate or the answer.
enum class Role { prefix, stage, tail, gate, net };

struct TensorInfo {
  std::string dtype;
  std::vector<std::int32_t> shape;
  std::size_t bytes = 0;

  bool operator==(const TensorInfo& other) const { return dtype == other.dtype && shape == other.shape; }
  /// Returns "float32 [1, 3, 32, 32]".
  std::string text() const;
};

/// One loaded method. It takes one tensor and gives what its role says, all of them contiguous.
class Unit {
 public:
  struct Spec {
    std::string name;
    Role role;
    /// The widths whose images run it.
    std::vector<std::uint64_t> widths;
    std::string method;
  };

  /// `slices` serves the constants that are not in `file`; null: all of them are.
  Unit(Spec spec, std::shared_ptr<const ProgramFile> file, std::shared_ptr<const SlicedDataMap> slices);

  const std::string& name() const { return spec_.name; }
  Role role() const { return spec_.role; }
  const std::vector<std::uint64_t>& widths() const { return spec_.widths; }
  bool serves(std::uint64_t width) const;
  bool reads_image() const { return spec_.role != Role::stage && spec_.role != Role::tail; }
  bool gives_features() const { return spec_.role == Role::prefix || spec_.role == Role::stage; }
  bool answers() const { return spec_.role == Role::tail || spec_.role == Role::net; }

  const TensorInfo& input() const { return inputs_.front(); }
  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  const std::vector<TensorInfo>& outputs() const { return outputs_; }
  bool has_run() const { return has_run_; }

  /// Runs on `input().bytes` bytes.
  void run(const void* data);
  /// Returns the bytes of an output of the last run; the next run overwrites them.
  const void* output(std::size_t index) const;
  /// Returns the classes' logits where it answers, else its gate's: every role has them last, and as float32.
  Logits logits() const { return {static_cast<const float*>(output(outputs_.size() - 1)), logits_count()}; }
  std::size_t logits_count() const { return outputs_.back().bytes / sizeof(float); }

 private:
  void load_method();
  void describe_tensors();
  void check_role() const;
  void describe_layout();

  Spec spec_;
  // In this order: what is further down points into what is further up.
  std::shared_ptr<const ProgramFile> file_;
  std::shared_ptr<const SlicedDataMap> slices_;
  executorch::extension::MallocMemoryAllocator method_allocator_, temporary_allocator_;
  std::vector<std::vector<std::uint8_t>> planned_;
  std::vector<executorch::runtime::Span<std::uint8_t>> planned_spans_;
  std::optional<executorch::runtime::HierarchicalAllocator> planned_allocator_;
  std::optional<executorch::runtime::MemoryManager> memory_;
  std::optional<executorch::runtime::Method> method_;
  std::vector<TensorInfo> inputs_, outputs_;
  std::vector<std::uint8_t> input_order_;
  std::vector<std::int32_t> input_strides_;
  bool has_run_ = false;
};

/// What runs in a row: each unit but the first reads the features of the one before it, or, after a gate, the image.
using Chain = std::vector<Unit*>;

/// Throws a UserError unless every unit can follow the one before it: by role, and by what it reads.
void check_chain(const Chain& chain);

/// Returns what the unit at `place` reads: the features of the one before it, or the image.
inline const void* input_of(const Chain& chain, std::size_t place, const void* image) {
  return chain[place]->reads_image() ? image : chain[place - 1]->output(0);
}

/// Throws a UserError unless two units read images of one shape.
void check_same_image(const Unit& one, const Unit& other);

}  // namespace dsnet
