#include "recipe.h"

#include <algorithm>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "json.h"
#include "user_error.h"

namespace dsnet {
namespace {

constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kMaxEntries = 1u << 16;
constexpr std::uint64_t kMaxSize = (1u << 30) - 1;
constexpr std::size_t kMaxName = 256;
constexpr std::size_t kMaxKey = 96;
constexpr std::size_t kMaxPath = 255;
constexpr std::string_view kFamily = "dsnet-recipe/";
constexpr int kNewestMajor = 2;
/// The first version whose slices may have positions.
constexpr int kPositionsMajor = 2;

std::size_t characters(const std::string& utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char byte) { return (byte & 0xC0) != 0x80; }));
}

bool all_of(const std::string& text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string::npos;
}

/// Returns the format's major version, one of those that this reader knows.
int read_major(const Fields& fields, const std::string& origin) {
  const std::string format = fields.text("format");
  const std::string version = format.substr(std::min(format.size(), kFamily.size()));
  const auto dot = version.find('.');
  const std::string major = version.substr(0, dot), minor = dot == std::string::npos ? "0" : version.substr(dot + 1);
  const auto number = [](const std::string& text) {
    return !text.empty() && text.size() <= 6 && all_of(text, "0123456789");
  };
  if (format.compare(0, kFamily.size(), kFamily) != 0 || !number(major) || !number(minor) || std::stoi(major) < 1)
    throw UserError(origin + ": format is " + shown(format) + "; valid: \"dsnet-recipe/1\" to \"dsnet-recipe/2\"");
  if (std::stoi(major) > kNewestMajor)
    throw UserError(origin + ": " + format + " is newer than this reader (dsnet-recipe/2); update dsnet-runner");
  return std::stoi(major);
}

Shape read_shape(const Fields& fields) {
  const auto sizes = fields.integers("shape", 1, kMaxSize);
  if (sizes.size() != 3) fields.refuse("shape", "three sizes", sizes.size());
  return {sizes[0], sizes[1], sizes[2]};
}

/// Returns how many bytes `shape` has, or nothing when they are more than any store may have.
std::optional<std::uint64_t> bytes_of(const Shape& shape, DType dtype) {
  std::uint64_t bytes = item_bytes(dtype);
  for (const std::uint64_t size : shape) {
    if (size > kMaxSize / bytes) return std::nullopt;
    bytes *= size;
  }
  return bytes;
}

StoredTensor read_tensor(const Json& value, const std::string& place, std::uint64_t store_bytes) {
  const Fields fields(value, place);
  if (characters(fields.text("name")) > kMaxName) throw UserError(place + ": name: longer than 256 characters");
  StoredTensor tensor{DType::float32, read_shape(fields), fields.integer("offset", 0, kMaxSize)};
  const std::string dtype = fields.text("dtype");
  if (dtype == "int32") tensor.dtype = DType::int32;
  else if (dtype == "int8") tensor.dtype = DType::int8;
  // float16 is part of the format, for runtimes that have it: ExecuTorch's recipes here never do.
  else if (dtype != "float32") fields.refuse("dtype", "float32, int32 or int8", dtype);
  const auto bytes = bytes_of(tensor.shape, tensor.dtype);
  // No sum can overflow: every term is below 2^30.
  if (tensor.offset % kAlignment != 0 || !bytes || tensor.offset + *bytes > store_bytes)
    throw UserError(place + ": not aligned to 64 bytes inside a store of " + std::to_string(store_bytes));
  return tensor;
}

const StoredTensor& stored(const Recipe& recipe, std::uint64_t index, const std::string& place) {
  if (index >= recipe.tensors.size())
    throw UserError(place + ": no tensor " + std::to_string(index) + "; there are " +
                    std::to_string(recipe.tensors.size()));
  return recipe.tensors[index];
}

/// Returns which positions of a tensor a slice takes: different ones, as many as its shape says.
std::vector<std::uint64_t> read_positions(
    const Fields& fields, const std::string& place, int major, std::uint64_t taken, std::uint64_t there) {
  if (major < kPositionsMajor) throw UserError(place + ": positions need dsnet-recipe/2");
  const auto positions = fields.integers("positions", 0, there - 1);
  const std::set<std::uint64_t> different(positions.begin(), positions.end());
  if (positions.size() > kMaxEntries || positions.size() != taken || different.size() != taken)
    throw UserError(place + ": its positions are not " + std::to_string(taken) + " different ones of " +
                    std::to_string(there));
  return positions;
}

Slice read_slice(const Json& value, const std::string& place, const Recipe& recipe, int major) {
  const Fields fields(value, place);
  Slice slice{fields.text("key"), fields.integer("tensor", 0, UINT64_MAX), read_shape(fields), std::nullopt, {}};
  if (slice.key.empty() || slice.key.size() > kMaxKey ||
      !all_of(slice.key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"))
    fields.refuse("key", "1 to 96 letters, digits and underscores", slice.key);
  const StoredTensor& tensor = stored(recipe, slice.tensor, place);
  for (std::size_t axis = 0; axis < 3; ++axis)
    if (slice.shape[axis] > tensor.shape[axis])
      throw UserError(place + ": takes " + std::to_string(slice.shape[axis]) + " of " +
                      std::to_string(tensor.shape[axis]) + " along axis " + std::to_string(axis));
  if (fields.has("positions"))
    slice.positions = read_positions(fields, place, major, slice.shape[1], tensor.shape[1]);
  const auto scale = fields.optional_integer("scale", 0, UINT64_MAX);
  const auto axis = fields.optional_integer("axis", 0, 2);
  if (axis && *axis == 1) fields.refuse("axis", "0 or 2", *axis);
  if (fields.has("cast")) throw UserError(place + ": a cast is for runtimes with float16, which this reader is not for");
  if (scale.has_value() != axis.has_value()) throw UserError(place + ": scale and axis go together");
  if (scale) {
    const StoredTensor& factors = stored(recipe, *scale, place);
    if (factors.dtype != DType::float32 || tensor.dtype != DType::float32)
      throw UserError(place + ": a scale and the tensor that it is for must both be float32");
    if (factors.shape[0] != 1 || factors.shape[1] != 1 || factors.shape[2] < slice.shape[*axis])
      throw UserError(place + ": tensor " + std::to_string(*scale) + " is no scale [1, 1, n] for " +
                      std::to_string(slice.shape[*axis]) + " elements");
    slice.scale = Scale{*scale, *axis};
  }
  return slice;
}

std::string path_problem(const std::string& path) {
  const auto unprintable = [](char byte) { return static_cast<unsigned char>(byte) < 0x20 || byte == 0x7F; };
  if (path.empty() || characters(path) > kMaxPath || std::any_of(path.begin(), path.end(), unprintable))
    return "is not 1 to 255 printable characters";
  if (path.front() == '/' || path.find_first_of("\\:") != std::string::npos)
    return "must be relative, with forward slashes";
  const std::string closed = "/" + path + "/";
  for (const char* part : {"//", "/./", "/../"})
    if (closed.find(part) != std::string::npos) return "must stay inside its folder, without '.' or '..' parts";
  return "";
}

/// Checks a plain file, of which the runner needs nothing: a recipe is sound as a whole or refused.
std::string check_file(
    const Json& value, const std::string& place, const Recipe& recipe, std::uint64_t template_bytes) {
  const Fields fields(value, place);
  const std::string path = fields.text("path"), sha256 = fields.text("sha256");
  if (const auto problem = path_problem(path); !problem.empty())
    throw UserError(place + ": path " + shown(path) + " " + problem);
  if (sha256.size() != 64 || !all_of(sha256, "0123456789abcdef")) fields.refuse("sha256", "a SHA-256", sha256);
  const auto bytes = fields.integer("bytes", 1, kMaxSize), literals = fields.integer("literal_bytes", 1, kMaxSize);
  if (fields.integer("offset", 0, kMaxSize) + fields.integer("compressed_bytes", 1, kMaxSize) > template_bytes)
    throw UserError(place + ": lies outside a template of " + std::to_string(template_bytes) + " bytes");
  // At most 2^16 pieces of less than 2^30 bytes: the sums stay far below 2^64.
  std::uint64_t copied = 0, total = literals;
  for (const Json& piece : fields.array("pieces", kMaxEntries)) {
    const auto count = piece.is_array() && piece.size() == 2 ? integer_in(piece[0], 0, kMaxSize) : std::nullopt;
    const auto index = count ? integer_in(piece[1], 0, kMaxSize) : std::nullopt;
    if (!index) fields.refuse("pieces", "pairs of literal bytes and a slice", piece);
    if (*index >= recipe.slices.size()) throw UserError(place + ": no slice " + std::to_string(*index));
    const Slice& slice = recipe.slices[*index];
    copied += *count;
    total += *bytes_of(slice.shape, recipe.tensors[slice.tensor].dtype);
  }
  if (copied > literals) throw UserError(place + ": its pieces need more than " + std::to_string(literals) + " bytes");
  if (total != bytes)
    throw UserError(place + ": its literals and slices do not add up to " + std::to_string(bytes) + " bytes");
  return path;
}

}  // namespace

Recipe parse_recipe(std::string_view text, const std::string& origin) {
  const Json value = parse_json(text, origin);
  const Fields fields(value, origin);
  const int major = read_major(fields, origin);
  Recipe recipe;
  recipe.store_bytes = fields.integer("store_bytes", 1, kMaxSize);
  const auto template_bytes = fields.integer("template_bytes", 1, kMaxSize);
  const auto place = [&origin](const char* list, std::size_t index) {
    return origin + ": " + list + "[" + std::to_string(index) + "]";
  };
  for (const Json& item : fields.array("tensors", kMaxEntries))
    recipe.tensors.push_back(read_tensor(item, place("tensors", recipe.tensors.size()), recipe.store_bytes));
  std::set<std::string> keys, paths;
  for (const Json& item : fields.array("slices", kMaxEntries)) {
    recipe.slices.push_back(read_slice(item, place("slices", recipe.slices.size()), recipe, major));
    if (!keys.insert(recipe.slices.back().key).second)
      throw UserError(origin + ": two slices have the key " + recipe.slices.back().key);
  }
  for (const Json& item : fields.array("files", kMaxEntries)) {
    const std::string path = check_file(item, place("files", paths.size()), recipe, template_bytes);
    if (!paths.insert(path).second) throw UserError(origin + ": two files have the path " + shown(path));
  }
  for (const std::string& path : paths)
    for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1))
      if (paths.count(path.substr(0, slash)) != 0)
        throw UserError(origin + ": the file " + shown(path) + " lies in a folder whose path is another file's");
  return recipe;
}

}  // namespace dsnet
