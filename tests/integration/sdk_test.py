"""What the author of a plugin gets: the component "plugin" is installed into an empty prefix, scripts/new-plugin begins a
plugin outside of the tree, and that builds without a warning and passes its tests, with gcc and with clang. Prints how
long it takes from the scaffold to the green test.
"""

import pathlib
import shutil
import subprocess
import tempfile
import time
import unittest

import kit

BUILD = kit.BIN.parent
CLANG = shutil.which("clang++-14") or shutil.which("clang++")
C_PLUGIN = """
#include <helo/extensions.h>
#include <helo/plugin.h>
static const helo_descriptor descriptor = {.struct_size = sizeof(helo_descriptor), .abi_major = HELO_ABI_MAJOR};
const helo_descriptor* helo_plugin_query(uint32_t major) { (void)major; return &descriptor; }
"""


def run(*command, check=True, cwd=None):
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=200, check=False, text=True, cwd=cwd)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done


def new_plugin(name, folder, check=True):
    return run(kit.ROOT / "scripts/new-plugin", name, folder, check=check)


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="helo-sdk."))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        # Installed in one place and moved to another: nothing in it may know where it was.
        run("cmake", "--install", BUILD, "--component", "plugin", "--prefix", cls.folder / "installed")
        cls.prefix = cls.folder / "prefix"
        (cls.folder / "installed").rename(cls.prefix)

    def build(self, source, *options):
        configured = run("cmake", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}", *options)
        self.assertNotIn("CMake Warning", configured.stdout)
        built = run("cmake", "--build", source / "build")
        self.assertNotIn("warning:", built.stdout)
        tested = run("ctest", "--test-dir", source / "build", "--output-on-failure")
        self.assertIn("100% tests passed", tested.stdout)
        self.assertNotIn("out of 0", tested.stdout)

    def check_symbols(self, library):
        symbols = run("nm", "-D", "--defined-only", library).stdout.split()
        self.assertEqual(["helo_plugin_query"], symbols[2::3], library)

    def scaffold(self, name, compiler, *options):
        source = self.folder / name
        began = time.monotonic()
        new_plugin(name, source)
        self.build(source, f"-DCMAKE_CXX_COMPILER={compiler}", *options)
        print(f"{name}: from scripts/new-plugin to a green test {time.monotonic() - began:.1f} s")
        self.check_symbols(source / f"build/lib/helo/plugins/{name}.so")

    def test_only_the_plugin_component_is_installed(self):
        files = {str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*") if path.is_file()}
        self.assertIn("include/helo/plugin.h", files)
        self.assertIn("include/helo/testing/fake_host.h", files)
        self.assertFalse([file for file in files if file.startswith("bin/") or file.endswith(".pb.h")], files)

    def test_with_gcc(self):
        self.scaffold("with-gcc", "g++")

    @unittest.skipUnless(CLANG, "clang++ is not here")
    def test_with_clang(self):
        self.scaffold("with-clang", CLANG)

    def test_with_the_address_sanitizer(self):
        self.scaffold("with-asan", "g++", "-DCMAKE_CXX_FLAGS=-fsanitize=address,undefined")

    def test_within_the_tree(self):
        name = "in-tree"
        source, build = self.folder / name, self.folder / "tree"
        new_plugin(name, source)
        run("cmake", "-S", kit.ROOT, "-B", build, "-G", "Ninja", "-DHELO_WITH_GRPC=OFF", "-DCMAKE_BUILD_TYPE=Debug",
            f"-DHELO_EXTRA_PLUGINS={source}")
        run("cmake", "--build", build, "--target", f"{name}_plugin", f"{name}_test")
        tested = run("ctest", "--test-dir", build, "-R", f"^{name}_test$", "--output-on-failure")
        self.assertIn("100% tests passed, 0 tests failed out of 1", tested.stdout)
        self.check_symbols(build / f"lib/helo/plugins/{name}.so")

    def test_the_headers_are_c(self):
        source = self.folder / "plugin.c"
        source.write_text(C_PLUGIN)
        library = self.folder / "plugin.so"
        run("gcc", "-std=c11", "-Wall", "-Wextra", "-pedantic-errors", "-Werror", "-shared", "-fPIC",
            "-fvisibility=hidden", f"-I{self.prefix / 'include'}", source, "-o", library)
        self.check_symbols(library)

    def test_a_missing_library_is_an_error_of_the_link(self):
        source = self.folder / "undefined"
        new_plugin("undefined", source)
        with (source / "undefined.cc").open("a") as file:
            file.write("void nowhere();\nvoid Somewhere() { nowhere(); }\n[[gnu::used]] void (*g_kept)() = Somewhere;\n")
        run("cmake", "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}", "-DBUILD_TESTING=OFF")
        built = run("cmake", "--build", source / "build", check=False)
        self.assertNotEqual(0, built.returncode)
        self.assertIn("undefined reference to `nowhere()'", built.stdout)

    def test_the_scaffold_overwrites_nothing_and_takes_no_impossible_name(self):
        folder = self.folder / "kept"
        folder.mkdir()
        (folder / "mine").write_text("mine")
        refused = new_plugin("kept", folder, check=False)
        self.assertEqual(2, refused.returncode)
        self.assertIn("not empty", refused.stdout)
        self.assertEqual(["mine"], [path.name for path in folder.iterdir()])
        for name in ("", "Chat", "1st", "a_b", "a" * 17, "../x"):
            refused = new_plugin(name, self.folder / "none", check=False)
            self.assertEqual(2, refused.returncode, name)
        self.assertFalse((self.folder / "none").exists())


if __name__ == "__main__":
    kit.main()
