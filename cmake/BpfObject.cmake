# bpf_object(NAME SOURCE [FLAGS...]): compiles a BPF C source with clang-19 to
# ${CMAKE_CURRENT_BINARY_DIR}/NAME.o, with BTF and line info. Target: bpf_NAME. FLAGS come last, so
# that they can override (-mcpu=v4).
find_program(XNIC_BPF_CLANG NAMES clang-19 REQUIRED)

function(bpf_object name source)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${name}.o)
  cmake_path(ABSOLUTE_PATH source)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${XNIC_BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall
            -I/usr/include/${CMAKE_LIBRARY_ARCHITECTURE} ${ARGN}
            -MD -MF ${output}.d -c ${source} -o ${output}
    DEPENDS ${source}
    DEPFILE ${output}.d
    COMMENT "BPF ${name}.o"
    VERBATIM)
  add_custom_target(bpf_${name} ALL DEPENDS ${output})
endfunction()
