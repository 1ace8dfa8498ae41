// helo/bytes.hpp: messages of fixed big-endian fields, and bytes as text. For authors who want no
// library for it. Nothing here trusts what it reads: a Reader that runs short gives zeros and says
// so in ok().
#ifndef HELO_BYTES_HPP_
#define HELO_BYTES_HPP_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace helo {
inline namespace sdk {

class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : rest_(bytes) {}
  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Number(2)); }
  uint32_t U32() { return static_cast<uint32_t>(Number(4)); }
  uint64_t U64() { return Number(8); }
  // The next `size` bytes, borrowed; none if there are fewer.
  std::span<const uint8_t> Take(size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  std::span<const uint8_t> Rest() { return Take(rest_.size()); }
  bool ok() const { return ok_; }                     // nothing was missing so far
  bool Done() const { return ok_ && rest_.empty(); }  // and nothing is left over

 private:
  uint64_t Number(size_t size) {
    uint64_t value = 0;
    for (const uint8_t byte : Take(size)) value = value << 8 | byte;
    return value;
  }

  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

class Writer {
 public:
  Writer& U8(uint8_t value) { return Number(value, 1); }
  Writer& U16(uint16_t value) { return Number(value, 2); }
  Writer& U32(uint32_t value) { return Number(value, 4); }
  Writer& U64(uint64_t value) { return Number(value, 8); }
  Writer& Add(std::span<const uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  std::span<const uint8_t> bytes() const { return bytes_; }

 private:
  Writer& Number(uint64_t value, size_t size) {
    while (size-- > 0) bytes_.push_back(static_cast<uint8_t>(value >> (8 * size)));
    return *this;
  }

  std::vector<uint8_t> bytes_;
};

inline std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline std::string Hex(std::span<const uint8_t> bytes) {
  std::string out;
  out.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    out.push_back("0123456789abcdef"[byte >> 4]);
    out.push_back("0123456789abcdef"[byte & 15]);
  }
  return out;
}
// Digits of either case, an even number of them, nothing else.
inline std::optional<std::vector<uint8_t>> Unhex(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> out;
  out.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<uint8_t>(high << 4 | low));
  }
  return out;
}

// Text that a remote wrote, fit for a terminal: in quotes, one line, what is not printable ASCII
// as \xNN.
inline std::string Quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c >= ' ' && c <= '~') {
      out.push_back(c);
    } else {
      const uint8_t byte = static_cast<uint8_t>(c);
      out += "\\x" + Hex({&byte, 1});
    }
  }
  return out + '"';
}

}  // namespace sdk
}  // namespace helo

#endif
