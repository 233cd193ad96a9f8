#pragma once

#include <string>

#include "json.h"
#include "network.h"

namespace dsnet {

/// Writes the last answer of a conversation, to standard output. Says nothing where nobody reads it any more.
void write_error(const std::string& problem);

/// One conversation: JSON commands in, JSON answers out. docs/native.md has every command.
class Protocol {
 public:
  /// Answers one command; a UserError when it cannot be answered.
  void answer(const std::string& line);

 private:
  void load(const Fields& command);
  void image(const Fields& command);
  void block(const Fields& command);
  void classify(const Fields& command);
  void outputs(const Fields& command);
  void canary(const Fields& command);
  void memory(const Fields& command);

  Network network_;
};

}  // namespace dsnet
