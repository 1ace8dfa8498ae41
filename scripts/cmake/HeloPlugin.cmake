# How a plugin is built, in this tree and, installed beside the headers, in anybody's:
#
#   find_package(helo REQUIRED COMPONENTS plugin)
#   helo_add_plugin(NAME source.cc ... [LIBRARIES lib ...])
#     -> lib/helo/plugins/NAME.so in the build folder, which exports helo_plugin_query and nothing else
#        (target NAME_plugin; installed to lib/helo/plugins)
#   helo_add_plugin_test(NAME test.cc ... [LIBRARIES lib ...])
#     -> program and test NAME_test: the plugin's own objects, and the fake host;
#        and, where the program `helo` is installed too, the test NAME_check: `helo plugin check` on NAME.so
#
# Hidden symbols keep two plugins, or a plugin and the node, from meaning each other's; -z defs makes a
# missing library an error of the link, not of the load.

set(HELO_PLUGIN_VERSION_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/helo_plugin.version)

function(helo_add_plugin name)
  if(NOT name MATCHES "^[a-z][a-z0-9_-]*$")
    message(FATAL_ERROR "a plugin's name is [a-z][a-z0-9_-]*, not \"${name}\": it names the file and the operator types it")
  endif()
  cmake_parse_arguments(A "" "" "LIBRARIES" ${ARGN})
  add_library(${name}_objects OBJECT ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(${name}_objects PUBLIC helo::plugin ${A_LIBRARIES})
  set_target_properties(${name}_objects PROPERTIES
    POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  # A GNU_UNIQUE symbol would keep the library mapped for ever; clang makes none.
  target_compile_options(${name}_objects PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>)

  add_library(${name}_plugin MODULE)
  target_link_libraries(${name}_plugin PRIVATE ${name}_objects)
  if(TARGET helo_flags)  # within the node's own tree: its warnings and sanitizers
    target_link_libraries(${name}_objects PRIVATE helo_flags)
    target_link_libraries(${name}_plugin PRIVATE helo_flags)
  endif()
  set_target_properties(${name}_plugin PROPERTIES
    PREFIX "" OUTPUT_NAME ${name} SUFFIX ".so" LINKER_LANGUAGE CXX
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/helo/plugins
    LINK_DEPENDS ${HELO_PLUGIN_VERSION_SCRIPT})
  target_link_options(${name}_plugin PRIVATE -Wl,--version-script=${HELO_PLUGIN_VERSION_SCRIPT})
  # clang leaves a sanitizer's runtime to the program.
  if(NOT (CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND "${CMAKE_CXX_FLAGS} ${HELO_SANITIZE}" MATCHES "fsanitize|asan|tsan"))
    target_link_options(${name}_plugin PRIVATE -Wl,-z,defs)
  endif()
  install(TARGETS ${name}_plugin LIBRARY DESTINATION lib/helo/plugins)
endfunction()

function(helo_add_plugin_test name)
  cmake_parse_arguments(A "" "" "LIBRARIES" ${ARGN})
  add_executable(${name}_test ${A_UNPARSED_ARGUMENTS})
  target_link_libraries(${name}_test PRIVATE ${name}_objects helo::plugin_testing ${A_LIBRARIES})
  if(TARGET helo_flags)
    target_link_libraries(${name}_test PRIVATE helo_flags)
  endif()
  add_test(NAME ${name}_test COMMAND ${name}_test)
  set_tests_properties(${name}_test PROPERTIES TIMEOUT 120 LABELS unit)
  # A library with a sanitizer cannot be loaded by a program without.
  if(NOT TARGET helo_flags AND NOT "${CMAKE_CXX_FLAGS}" MATCHES "fsanitize")
    find_program(HELO_PROGRAM helo)
    if(HELO_PROGRAM)
      add_test(NAME ${name}_check COMMAND ${HELO_PROGRAM} plugin check $<TARGET_FILE:${name}_plugin>)
      set_tests_properties(${name}_check PROPERTIES TIMEOUT 300)
    endif()
  endif()
endfunction()
