#include "rpc/tool/table.h"

#include <absl/strings/str_cat.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>

#include <algorithm>
#include <numeric>

#include "p2p/base/text.h"

namespace helo::tool {
namespace {

constexpr size_t kGap = 2;  // blanks between columns
constexpr size_t kTextWidth = 80;

bool StartsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

std::string_view Code(Colour colour) {
  switch (colour) {
    case Colour::kNone:
      return "";
    case Colour::kBold:
      return "1";
    case Colour::kDim:
      return "2";
    case Colour::kGreen:
      return "32";
    case Colour::kYellow:
      return "33";
    case Colour::kRed:
      return "31";
  }
  return "";
}

size_t LineWidth(const std::vector<size_t>& widths, const std::vector<bool>& shown) {
  size_t width = 0;
  size_t columns = 0;
  for (size_t i = 0; i < widths.size(); ++i) {
    if (!shown[i]) continue;
    width += widths[i];
    ++columns;
  }
  return columns == 0 ? 0 : width + (columns - 1) * kGap;
}

// Takes from the widest elastic column, one character at a time, until the line fits or nothing
// gives any more.
void Shrink(const std::vector<Column>& columns, const std::vector<bool>& shown, size_t room,
            std::vector<size_t>& widths) {
  for (size_t width = LineWidth(widths, shown); width > room; --width) {
    size_t widest = columns.size();
    for (size_t i = 0; i < columns.size(); ++i) {
      const bool gives = shown[i] && columns[i].least > 0 && widths[i] > columns[i].least;
      if (gives && (widest == columns.size() || widths[i] > widths[widest])) widest = i;
    }
    if (widest == columns.size()) return;
    --widths[widest];
  }
}

}  // namespace

std::string Style::Paint(std::string_view text, Colour paint) const {
  if (!colour || paint == Colour::kNone || text.empty()) return std::string(text);
  return absl::StrCat("\x1b[", ToAbsl(Code(paint)), "m", ToAbsl(text), "\x1b[0m");
}

size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), StartsCharacter));
}

std::string Shorten(std::string_view text, size_t width) {
  if (DisplayWidth(text) <= width) return std::string(text);
  if (width == 0) return "";
  size_t characters = 0;
  size_t end = 0;
  while (end < text.size()) {
    if (StartsCharacter(text[end]) && ++characters == width) break;
    ++end;
  }
  return absl::StrCat(ToAbsl(text.substr(0, end)), "~");
}

std::string Wrap(std::string_view text, size_t width, std::string_view indent) {
  const size_t room =
      std::max<size_t>(20, (width == 0 ? kTextWidth : width) -
                               std::min(width == 0 ? kTextWidth : width, indent.size()));
  std::string out;
  std::string line;
  for (const absl::string_view word : absl::StrSplit(ToAbsl(text), ' ', absl::SkipEmpty())) {
    if (!line.empty() && DisplayWidth(line) + 1 + DisplayWidth(FromAbsl(word)) > room) {
      absl::StrAppend(&out, ToAbsl(indent), line, "\n");
      line.clear();
    }
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  if (!line.empty()) absl::StrAppend(&out, ToAbsl(indent), line, "\n");
  return out;
}

void Table::AddRow(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }

std::vector<size_t> Table::NaturalWidths() const {
  std::vector<size_t> widths;
  widths.reserve(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = DisplayWidth(columns_[i].title);
    for (const std::vector<Cell>& row : rows_) width = std::max(width, DisplayWidth(row[i].text));
    widths.push_back(width);
  }
  return widths;
}

std::string Table::Render(const Style& style, std::string_view indent,
                          std::string_view hint) const {
  const std::vector<size_t> natural = NaturalWidths();
  std::vector<size_t> widths = natural;
  std::vector<bool> shown(columns_.size(), true);
  std::vector<std::string> hidden;
  if (style.width > 0) {
    const size_t room = style.width > indent.size() ? style.width - indent.size() : 1;
    Shrink(columns_, shown, room, widths);
    while (LineWidth(widths, shown) > room) {
      size_t victim = columns_.size();
      for (size_t i = 0; i < columns_.size(); ++i) {
        if (!shown[i] || columns_[i].dispensable == 0) continue;
        if (victim == columns_.size() || columns_[i].dispensable > columns_[victim].dispensable)
          victim = i;
      }
      if (victim == columns_.size()) break;
      shown[victim] = false;
      widths = natural;
      Shrink(columns_, shown, room, widths);
    }
  }
  const auto fit = [&](const Cell& cell, size_t width) -> const std::string& {
    const bool cut = DisplayWidth(cell.text) > width;
    return cut && !cell.brief.empty() && DisplayWidth(cell.brief) <= width ? cell.brief : cell.text;
  };
  const auto line = [&](const auto& text_of, const auto& colour_of) {
    std::string out(indent);
    size_t pending = 0;  // blanks owed: none are written at the end of a line
    bool first = true;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (!shown[i]) continue;
      const std::string text = Shorten(text_of(i), widths[i]);
      const size_t padding = widths[i] - DisplayWidth(text);
      pending += first ? 0 : kGap;
      first = false;
      if (columns_[i].right) pending += padding;
      if (!text.empty()) {
        out.append(pending, ' ').append(style.Paint(text, colour_of(i)));
        pending = 0;
      }
      if (!columns_[i].right) pending += padding;
    }
    return out + "\n";
  };
  std::string out =
      line([&](size_t i) { return columns_[i].title; }, [](size_t) { return Colour::kBold; });
  for (const std::vector<Cell>& row : rows_) {
    out += line([&](size_t i) { return fit(row[i], widths[i]); },
                [&](size_t i) { return row[i].colour; });
  }
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (!shown[i]) hidden.push_back(columns_[i].title);
  }
  if (!hidden.empty() && !hint.empty()) {
    absl::StrAppend(&out, ToAbsl(indent),
                    style.Paint(absl::StrCat("(no room for ", absl::StrJoin(hidden, ", "), ": ",
                                             ToAbsl(hint), ")"),
                                Colour::kDim),
                    "\n");
  }
  return out;
}

void Listing::Add(std::string name, std::string value) {
  lines_.emplace_back(std::move(name), std::move(value));
}

std::string Listing::Render(const Style& style, std::string_view indent) const {
  size_t width = 0;
  for (const auto& [name, value] : lines_) width = std::max(width, DisplayWidth(name));
  std::string out;
  for (const auto& [name, value] : lines_) {
    absl::StrAppend(&out, ToAbsl(indent), style.Paint(name, Colour::kDim),
                    std::string(width - DisplayWidth(name) + kGap, ' '), value, "\n");
  }
  return out;
}

}  // namespace helo::tool
