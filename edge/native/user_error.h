#pragma once

#include <stdexcept>

namespace dsnet {

/// What is wrong, the valid choices, what to change, in one line. It ends the program with exit status 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace dsnet
