// helo/table.hpp: rows of text as aligned columns, for the answer to a command. Quote what a remote
// wrote (helo/bytes.hpp) before it comes here.
#ifndef HELO_TABLE_HPP_
#define HELO_TABLE_HPP_

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace helo {
inline namespace sdk {

class Table {
 public:
  // A column whose title begins with '>' is aligned to the right; the sign is not printed.
  explicit Table(std::vector<std::string> titles) : right_(titles.size()) {
    for (size_t i = 0; i < titles.size(); ++i) {
      if (titles[i].empty() || titles[i][0] != '>') continue;
      right_[i] = true;
      titles[i].erase(0, 1);
    }
    rows_.push_back(std::move(titles));
  }
  void Add(std::vector<std::string> row) {
    row.resize(right_.size());
    rows_.push_back(std::move(row));
  }
  size_t size() const { return rows_.size() - 1; }

  std::string Print() const {
    std::vector<size_t> widths(right_.size());
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string out;
    for (const auto& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) {
        const std::string pad(widths[i] - row[i].size(), ' ');
        out += (i == 0 ? "" : "  ") + (right_[i] ? pad + row[i] : row[i] + pad);
      }
      out.erase(out.find_last_not_of(' ') + 1);
      out += '\n';
    }
    return out;
  }

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sdk
}  // namespace helo

#endif
