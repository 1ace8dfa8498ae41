#include "plugins/check/elf.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace helo::plugins {
namespace {

// Nothing outside of the file is read, whatever its headers say.
class Image {
 public:
  explicit Image(ByteView bytes) : bytes_(bytes) {}

  template <typename T>
  bool Read(uint64_t at, T& out) const {
    if (at > bytes_.size() || bytes_.size() - at < sizeof(T)) return false;
    std::memcpy(&out, bytes_.data() + at, sizeof(T));
    return true;
  }
  std::string Text(const Elf64_Shdr& strings, uint64_t offset) const {
    if (offset >= strings.sh_size || strings.sh_offset > bytes_.size() ||
        strings.sh_size > bytes_.size() - strings.sh_offset) {
      return {};
    }
    const char* text = reinterpret_cast<const char*>(bytes_.data() + strings.sh_offset + offset);
    return {text, strnlen(text, std::min<uint64_t>(strings.sh_size - offset, 4096))};
  }

 private:
  ByteView bytes_;
};

bool LinkersOwn(const std::string& name) {
  for (const char* own : {"_init", "_fini", "__bss_start", "_edata", "_end"}) {
    if (name == own) return true;
  }
  return name.rfind("__asan", 0) == 0 || name.rfind("__odr_asan", 0) == 0;
}

void AddSymbol(const Elf64_Sym& symbol, const std::string& name, bool dynamic, ElfFacts& facts) {
  if (name.find("descriptor_table_") != std::string::npos ||
      name.find("AddDescriptorsRunner") != std::string::npos) {
    facts.generated_protobuf = true;
  }
  if (!dynamic || symbol.st_shndx == SHN_UNDEF || name.empty()) return;
  const unsigned binding = ELF64_ST_BIND(symbol.st_info);
  const unsigned visibility = ELF64_ST_VISIBILITY(symbol.st_other);
  if (visibility == STV_HIDDEN || visibility == STV_INTERNAL || symbol.st_shndx == SHN_ABS) return;
  if (binding == STB_GNU_UNIQUE) facts.unique.push_back(name);
  if (binding != STB_LOCAL && !LinkersOwn(name)) facts.exports.push_back(name);
}

}  // namespace

ElfFacts ReadElf(ByteView contents) {
  ElfFacts facts;
  const Image image(contents);
  Elf64_Ehdr header;
  if (!image.Read(0, header) || header.e_shentsize != sizeof(Elf64_Shdr)) return facts;
  const auto section = [&](uint64_t index, Elf64_Shdr& out) {
    return index < header.e_shnum && image.Read(header.e_shoff + index * sizeof(out), out);
  };
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr table;
    Elf64_Shdr strings;
    if (!section(i, table) || !section(table.sh_link, strings)) continue;
    if (table.sh_type == SHT_DYNSYM || table.sh_type == SHT_SYMTAB) {
      Elf64_Sym symbol;
      for (uint64_t at = 0; at < table.sh_size && image.Read(table.sh_offset + at, symbol);
           at += sizeof(symbol)) {
        AddSymbol(symbol, image.Text(strings, symbol.st_name), table.sh_type == SHT_DYNSYM, facts);
      }
    } else if (table.sh_type == SHT_DYNAMIC) {
      Elf64_Dyn entry;
      for (uint64_t at = 0; at < table.sh_size && image.Read(table.sh_offset + at, entry);
           at += sizeof(entry)) {
        if (entry.d_tag == DT_NEEDED) {
          facts.needed.push_back(image.Text(strings, entry.d_un.d_val));
        }
      }
    }
  }
  std::sort(facts.exports.begin(), facts.exports.end());
  std::sort(facts.unique.begin(), facts.unique.end());
  return facts;
}

}  // namespace helo::plugins
