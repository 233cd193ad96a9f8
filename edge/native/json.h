/// Strict JSON from strangers, and typed access to the fields of an object. Everything unexpected is a UserError.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace dsnet {

using Json = nlohmann::json;

constexpr std::size_t kMaxJsonBytes = 16u << 20;

/// Returns the value of UTF-8 JSON text without duplicate keys, NaN or infinity, nested at most 64 levels deep.
/// `origin` is what errors call the text.
Json parse_json(std::string_view text, const std::string& origin);

/// Returns `value` as text for an error message: one line, cut short.
std::string shown(const Json& value);

/// The fields of one JSON object. Unknown fields are accepted: a later minor version may add some.
class Fields {
 public:
  /// `place` says in errors where the object is: "recipe.json: tensors[3]"; both must outlive this.
  Fields(const Json& object, const std::string& place);

  bool has(const char* name) const;
  std::string text(const char* name) const;
  /// Returns true or false; `otherwise` where the field is null or missing.
  bool flag(const char* name, bool otherwise) const;
  std::uint64_t integer(const char* name, std::uint64_t lowest, std::uint64_t highest) const;
  /// As `integer`; nothing where the field is null or missing.
  std::optional<std::uint64_t> optional_integer(const char* name, std::uint64_t lowest, std::uint64_t highest) const;
  /// As `text`; nothing where the field is null or missing.
  std::optional<std::string> optional_text(const char* name) const;
  std::vector<double> numbers(const char* name) const;
  /// Returns a list of lists of numbers, of whatever lengths.
  std::vector<std::vector<double>> rows(const char* name) const;
  std::vector<std::uint64_t> integers(const char* name, std::uint64_t lowest, std::uint64_t highest) const;
  std::vector<std::string> texts(const char* name) const;
  const Json& array(const char* name, std::size_t max_entries) const;
  /// Returns the value of a field, whatever it is.
  const Json& field(const char* name) const;

  /// Throws a UserError about a field.
  [[noreturn]] void refuse(const std::string& name, const std::string& expected, const Json& found) const;

 private:
  std::vector<double> numbers_in(const char* name, const Json& list) const;

  const Json& object_;
  const std::string& place_;
};

/// Returns `value` as an integer in a range, nothing when it is anything else.
std::optional<std::uint64_t> integer_in(const Json& value, std::uint64_t lowest, std::uint64_t highest);

}  // namespace dsnet
