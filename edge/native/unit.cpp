#include "unit.h"

#include <algorithm>
#include <utility>

#include "runtime.h"
#include "user_error.h"

namespace dsnet {
namespace {

namespace et = executorch::runtime;

/// Far above any network here; a broken program may ask for anything.
constexpr std::int64_t kMaxPlannedBytes = 1 << 30;

TensorInfo describe(const et::TensorInfo& meta, const std::string& place) {
  TensorInfo info;
  switch (meta.scalar_type()) {
    case executorch::aten::ScalarType::Float: info.dtype = "float32"; break;
    case executorch::aten::ScalarType::Char: info.dtype = "int8"; break;
    default: throw UserError(place + " is neither float32 nor int8");
  }
  std::size_t dimension = 0;
  for (const auto at : meta.dim_order())
    if (at != dimension++) throw UserError(place + " is not contiguous; export it in NCHW order");
  info.shape.assign(meta.sizes().begin(), meta.sizes().end());
  info.bytes = meta.nbytes();
  if (info.bytes == 0) throw UserError(place + " has no elements");
  return info;
}

}  // namespace

std::string TensorInfo::text() const {
  std::string sizes;
  for (const auto size : shape) sizes += (sizes.empty() ? "" : ", ") + std::to_string(size);
  return dtype + " [" + sizes + "]";
}

Unit::Unit(Spec spec, std::shared_ptr<const ProgramFile> file, std::shared_ptr<const SlicedDataMap> slices)
    : spec_(std::move(spec)), file_(std::move(file)), slices_(std::move(slices)) {
  file_->check_has_method(spec_.method);
  load_method();
  describe_tensors();
  check_role();
  describe_layout();
}

void Unit::load_method() {
  const std::string what = "unit " + spec_.name + ": the runtime cannot load method " + spec_.method;
  const et::MethodMeta meta = take(file_->program().method_meta(spec_.method.c_str()), what);
  for (std::size_t index = 0; index < meta.num_memory_planned_buffers(); ++index) {
    const std::int64_t bytes = take(meta.memory_planned_buffer_size(index), what);
    if (bytes < 0 || bytes > kMaxPlannedBytes)
      throw UserError(what + ": it wants " + std::to_string(bytes) + " bytes of working memory");
    planned_.emplace_back(static_cast<std::size_t>(bytes));
  }
  for (auto& buffer : planned_) planned_spans_.emplace_back(buffer.data(), buffer.size());
  planned_allocator_.emplace(
      et::Span<et::Span<std::uint8_t>>(planned_spans_.data(), planned_spans_.size()));
  memory_.emplace(&method_allocator_, &*planned_allocator_, &temporary_allocator_);
  method_.emplace(take(
      file_->program().load_method(spec_.method.c_str(), &*memory_, nullptr, slices_.get()), what));
}

void Unit::describe_tensors() {
  const et::MethodMeta meta = method_->method_meta();
  const std::string place = "unit " + spec_.name + ": ";
  for (std::size_t index = 0; index < meta.num_inputs(); ++index) {
    const std::string name = place + "input " + std::to_string(index);
    inputs_.push_back(describe(take(meta.input_tensor_meta(index), name), name));
  }
  for (std::size_t index = 0; index < meta.num_outputs(); ++index) {
    const std::string name = place + "output " + std::to_string(index);
    outputs_.push_back(describe(take(meta.output_tensor_meta(index), name), name));
  }
}

bool Unit::serves(std::uint64_t width) const {
  return std::find(widths().begin(), widths().end(), width) != widths().end();
}

void Unit::check_role() const {
  const std::size_t outputs = gives_features() ? 2 : 1;
  if (inputs_.size() != 1 || outputs_.size() != outputs)
    throw UserError("unit " + spec_.name + ": " + std::to_string(inputs_.size()) + " inputs and " +
                    std::to_string(outputs_.size()) + " outputs; its role has 1 and " + std::to_string(outputs));
  if (reads_image() && input().dtype != "float32")
    throw UserError("unit " + spec_.name + ": its image is " + input().dtype + ", not float32");
  if (outputs_.back().dtype != "float32")
    throw UserError("unit " + spec_.name + ": its logits are " + outputs_.back().dtype + ", not float32");
}

void Unit::describe_layout() {
  std::int32_t stride = 1;
  input_strides_.resize(input().shape.size());
  for (std::size_t dimension = input_strides_.size(); dimension-- > 0; stride *= input().shape[dimension])
    input_strides_[dimension] = stride;
  for (std::size_t dimension = 0; dimension < input_strides_.size(); ++dimension)
    input_order_.push_back(static_cast<std::uint8_t>(dimension));
}

void Unit::run(const void* data) {
  // Memory planning gives the input's place to other tensors once it has been read: set it before every run.
  auto& shape = inputs_.front().shape;
  executorch::aten::TensorImpl tensor(
      input().dtype == "int8" ? executorch::aten::ScalarType::Char : executorch::aten::ScalarType::Float,
      static_cast<ssize_t>(shape.size()), shape.data(), const_cast<void*>(data), input_order_.data(),
      input_strides_.data());
  check(method_->set_input(et::EValue(executorch::aten::Tensor(&tensor)), 0), "unit " + spec_.name + ": input refused");
  check(method_->execute(), "unit " + spec_.name + ": the run failed");
  has_run_ = true;
}

const void* Unit::output(std::size_t index) const {
  return method_->get_output(index).toTensor().const_data_ptr();
}

void check_chain(const Chain& chain) {
  for (std::size_t place = 1; place < chain.size(); ++place) {
    const Unit &before = *chain[place - 1], &unit = *chain[place];
    const bool follows =
        unit.reads_image() ? unit.role() == Role::net && before.role() == Role::gate : before.gives_features();
    if (!follows)
      throw UserError("unit " + unit.name() + " cannot follow unit " + before.name() +
                      "; a prefix or stage is followed by a stage or tail, a gate by a net");
    const TensorInfo& given = unit.reads_image() ? before.input() : before.outputs().front();
    if (!(given == unit.input()))
      throw UserError("unit " + unit.name() + " reads " + unit.input().text() + ", but unit " + before.name() +
                      (unit.reads_image() ? " reads " : " gives ") + given.text() + "; load both from one artifact");
  }
}

void check_same_image(const Unit& one, const Unit& other) {
  if (!(one.input() == other.input()))
    throw UserError("unit " + other.name() + " reads " + other.input().text() + ", but unit " + one.name() +
                    " reads " + one.input().text() + "; load both from one artifact");
}

}  // namespace dsnet
