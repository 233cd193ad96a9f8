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

/// What a program is for, see docs/bundle.md: heads run for every image, bodies at one width.
enum class Role { prefix, tail, gate, net };

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
    std::optional<std::uint64_t> width;
    std::string method;
  };

  /// `slices` serves the constants that are not in `file`; null: all of them are.
  Unit(Spec spec, std::shared_ptr<const ProgramFile> file, std::shared_ptr<const SlicedDataMap> slices);

  const std::string& name() const { return spec_.name; }
  Role role() const { return spec_.role; }
  std::optional<std::uint64_t> width() const { return spec_.width; }
  bool is_head() const { return spec_.role == Role::prefix || spec_.role == Role::gate; }
  bool reads_image() const { return spec_.role != Role::tail; }

  const TensorInfo& input() const { return inputs_.front(); }
  const std::vector<TensorInfo>& inputs() const { return inputs_; }
  const std::vector<TensorInfo>& outputs() const { return outputs_; }
  bool has_run() const { return has_run_; }

  /// Runs on `input().bytes` bytes.
  void run(const void* data);
  /// Returns the bytes of an output of the last run; the next run overwrites them.
  const void* output(std::size_t index) const;
  /// Returns the gate's logits (of a head) or the classes' (of a body): every role has them last, and as float32.
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

/// Throws a UserError unless `body` can follow `head`: a tail its prefix's features, a net a gate of the same image.
void check_chain(const Unit& head, const Unit& body);

/// Throws a UserError unless two units read images of one shape.
void check_same_image(const Unit& one, const Unit& other);

}  // namespace dsnet
