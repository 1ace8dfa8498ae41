// Aligned text for people: tables that fit the terminal, and lists of names and values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace helo::tool {

enum class Colour : uint8_t { kNone, kBold, kDim, kGreen, kYellow, kRed };

// How the output looks where it goes to.
struct Style {
  bool colour = false;
  size_t width = 0;  // of the terminal, 0: not a terminal, as wide as it gets
  std::string Paint(std::string_view text, Colour colour) const;
};

struct Column {
  std::string title;
  bool right = false;   // numbers
  size_t least = 0;     // elastic: may be cut down to this many characters; 0: never cut
  int dispensable = 0;  // left out, highest first, when the table does not fit; 0: never
};

struct Cell {
  // Implicit, since a row is written as a list of texts.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Cell(std::string t, Colour c = Colour::kNone) : text(std::move(t)), colour(c) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Cell(const char* t) : text(t), colour(Colour::kNone) {}
  std::string text;
  Colour colour;
  std::string brief;  // instead of the text where that would be cut; empty: it is cut
};

class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void AddRow(std::vector<Cell> cells);  // one for each column
  bool empty() const { return rows_.empty(); }
  // A heading line and the rows, each line indented and ended by a newline. First elastic columns
  // shrink, then dispensable ones go; what went is named in a last line, and so is how to see it
  // (`hint`).
  std::string Render(const Style& style, std::string_view indent = "",
                     std::string_view hint = "") const;

 private:
  std::vector<size_t> NaturalWidths() const;
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// Names and values, the values aligned:
//   network  helo-dev
//   pid      4711
class Listing {
 public:
  void Add(std::string name, std::string value);
  std::string Render(const Style& style, std::string_view indent = "") const;

 private:
  std::vector<std::pair<std::string, std::string>> lines_;
};

// Characters, not bytes, of valid UTF-8.
size_t DisplayWidth(std::string_view text);
// Cut to `width` characters, the last one '~' if something was cut.
std::string Shorten(std::string_view text, size_t width);
// Broken at blanks into lines of at most `width` characters (0: 80), each indented.
std::string Wrap(std::string_view text, size_t width, std::string_view indent);

}  // namespace helo::tool
