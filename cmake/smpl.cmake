# What every target of ours is built with. Link smpl_flags PRIVATE and the rest follows.

add_library(smpl_flags INTERFACE)
target_compile_definitions(smpl_flags INTERFACE _GNU_SOURCE SMPL_VERSION="${PROJECT_VERSION}")
target_compile_options(smpl_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Werror)
target_include_directories(smpl_flags INTERFACE ${PROJECT_SOURCE_DIR})

if(SMPL_FUZZ)
  target_compile_definitions(smpl_flags INTERFACE SMPL_FUZZ=1)
endif()

if(SMPL_SANITIZE)
  add_compile_options(-fsanitize=${SMPL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SMPL_SANITIZE})
  # Walls that a sanitizer's run time cannot live behind are built wider and say so in `status`.
  target_compile_definitions(smpl_flags INTERFACE SMPL_SANITIZER=1)
endif()

add_link_options(-Wl,--as-needed -Wl,--build-id=sha1) # the line of a crash names the build

# What each binary carries of this is checked by tests/e2e/test_hardening.py. No -fcf-protection: Debian's start-up objects and
# libraries are not marked for it, so the linker drops the mark from our programs, and nothing would ever enforce it.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  include(CheckCCompilerFlag)
  set(flags -fstack-protector-strong -fstack-clash-protection)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    list(APPEND flags -mbranch-protection=standard) # return addresses are signed, and jumps have landing places
  endif()
  foreach(flag ${flags})
    string(MAKE_C_IDENTIFIER "SMPL_HAS${flag}" has)
    check_c_compiler_flag(${flag} ${has})
    if(${has})
      add_compile_options(${flag})
    endif()
  endforeach()
  add_compile_options($<$<COMPILE_LANGUAGE:C>:-U_FORTIFY_SOURCE> $<$<COMPILE_LANGUAGE:C>:-D_FORTIFY_SOURCE=3>)
  add_link_options(-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()

# smpl_unit_test(NAME SOURCE... LIBS lib...): one cmocka executable, one ctest entry labelled unit.
function(smpl_unit_test name)
  cmake_parse_arguments(T "" "" "SOURCES;LIBS" ${ARGN})
  if(NOT SMPL_TESTS)
    return()
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE smpl_flags ${T_LIBS} PkgConfig::CMOCKA)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  get_filename_component(preset ${CMAKE_BINARY_DIR} NAME)
  add_test(NAME ${preset}.unit.${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  set(timeout 600)
  if(CMAKE_CROSSCOMPILING) # an emulated processor is ten times slower
    set(timeout 6000)
  endif()
  set_tests_properties(${preset}.unit.${name} PROPERTIES LABELS unit TIMEOUT ${timeout} RESOURCE_LOCK unit.${name})
endfunction()

# smpl_fuzz_target(NAME SOURCES... LIBS lib... CORPUS dir): a libFuzzer executable, built with -DSMPL_FUZZ=ON.
# `./dev fuzz` runs each with its corpus in tests/fuzz/<program>/corpus/<NAME>/.
function(smpl_fuzz_target name)
  cmake_parse_arguments(T "" "CORPUS" "SOURCES;LIBS" ${ARGN})
  if(NOT SMPL_FUZZ)
    return()
  endif()
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE smpl_flags ${T_LIBS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  cmake_path(ABSOLUTE_PATH T_CORPUS BASE_DIRECTORY ${PROJECT_SOURCE_DIR})
  file(WRITE ${CMAKE_BINARY_DIR}/fuzz/${name}.corpus "${T_CORPUS}\n")
endfunction()

if(SMPL_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()

# Manual pages of the program whose folder this is: smpl-x.8.scd becomes build/<preset>/man/smpl-x.8.
find_program(SCDOC scdoc REQUIRED)
function(smpl_manual)
  foreach(source ${ARGV})
    string(REGEX REPLACE "\\.scd$" "" page ${source})
    add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/man/${page}
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
      COMMAND sh -c "\"${SCDOC}\" < \"${CMAKE_CURRENT_SOURCE_DIR}/${source}\" > \"${CMAKE_BINARY_DIR}/man/${page}\""
      DEPENDS ${source} VERBATIM)
    add_custom_target(${page}-manual ALL DEPENDS ${CMAKE_BINARY_DIR}/man/${page})
  endforeach()
endfunction()
