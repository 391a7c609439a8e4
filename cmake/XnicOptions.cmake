# The one interface target that every xnic target links: warnings, include root, sanitizers.
add_library(xnic_options INTERFACE)
target_include_directories(xnic_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(xnic_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -fno-strict-aliasing)

option(XNIC_WERROR "Treat warnings as errors" OFF)
if(XNIC_WERROR)
  target_compile_options(xnic_options INTERFACE -Werror)
endif()

set(XNIC_SANITIZE "" CACHE STRING "Sanitizers for every target, e.g. address,undefined")
if(XNIC_SANITIZE)
  target_compile_options(xnic_options INTERFACE
    -fsanitize=${XNIC_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(xnic_options INTERFACE -fsanitize=${XNIC_SANITIZE})
endif()
