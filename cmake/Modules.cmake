# SPDX-License-Identifier: Apache-2.0
#
# How a folder of src/ becomes a static library, and what it may include. tools/check-layers reads
# the same sws_module() calls, so that the arrows drawn here are the only ones that exist.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

set(SWS_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wvla -Wmissing-prototypes
    -Wstrict-prototypes -Wcast-align -Wswitch-enum -Wundef -Werror)

add_library(sws_flags INTERFACE)
target_compile_definitions(sws_flags INTERFACE _GNU_SOURCE SWS_VERSION="${PROJECT_VERSION}")
target_compile_options(sws_flags INTERFACE ${SWS_WARNINGS} -fno-strict-aliasing -ffp-contract=off)
target_include_directories(sws_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
if(SWS_POOLS)
    target_compile_definitions(sws_flags INTERFACE SWS_POOLS)
endif()
if(SWS_SANITIZE)
    target_compile_options(sws_flags INTERFACE -fsanitize=${SWS_SANITIZE} -fno-omit-frame-pointer
        -fno-sanitize-recover=all -g)
    target_link_options(sws_flags INTERFACE -fsanitize=${SWS_SANITIZE})
else()
    target_compile_options(sws_flags INTERFACE -fstack-protector-strong
        $<$<CONFIG:Release>:-g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
    target_link_options(sws_flags INTERFACE -Wl,-z,relro,-z,now)
endif()

# sws_link_libraries(TARGET VISIBILITY NAME...): links system libraries by pkg-config name.
function(sws_link_libraries target visibility)
    foreach(name ${ARGN})
        string(MAKE_C_IDENTIFIER ${name} id)
        if(NOT TARGET PkgConfig::${id})
            pkg_check_modules(${id} REQUIRED IMPORTED_TARGET GLOBAL ${name})
        endif()
        target_link_libraries(${target} ${visibility} PkgConfig::${id})
    endforeach()
endfunction()

# sws_module(NAME folder SOURCES file... USES folder... LIBRARIES pkg-config-name...
#            OPTIONAL pkg-config-name... LOADS pkg-config-name...)
# The folders under USES are the only ones whose headers this folder may include. A library under
# OPTIONAL is used where it is installed, and SWS_HAVE_<NAME> is defined then. One under LOADS is
# loaded by the program itself when it needs it, by the name in SWS_SONAME_<NAME>.
function(sws_module)
    cmake_parse_arguments(M "" "NAME" "SOURCES;USES;LIBRARIES;OPTIONAL;LOADS" ${ARGN})
    add_library(sws_${M_NAME} STATIC ${M_SOURCES})
    target_link_libraries(sws_${M_NAME} PUBLIC sws_flags Threads::Threads)
    foreach(folder ${M_USES})
        target_link_libraries(sws_${M_NAME} PUBLIC sws_${folder})
    endforeach()
    sws_link_libraries(sws_${M_NAME} PRIVATE ${M_LIBRARIES})
    foreach(name ${M_OPTIONAL})
        string(MAKE_C_IDENTIFIER ${name} id)
        string(TOUPPER ${id} upper)
        pkg_check_modules(${id} QUIET IMPORTED_TARGET GLOBAL ${name})
        if(${id}_FOUND)
            target_link_libraries(sws_${M_NAME} PRIVATE PkgConfig::${id})
            target_compile_definitions(sws_${M_NAME} PRIVATE SWS_HAVE_${upper})
        endif()
    endforeach()
    foreach(name ${M_LOADS})
        string(MAKE_C_IDENTIFIER ${name} id)
        string(TOUPPER ${id} upper)
        pkg_check_modules(${id} REQUIRED ${name})
        sws_soname(soname "${${id}_LINK_LIBRARIES}")
        target_include_directories(sws_${M_NAME} SYSTEM PRIVATE ${${id}_INCLUDE_DIRS})
        target_compile_definitions(sws_${M_NAME} PRIVATE SWS_SONAME_${upper}="${soname}")
        target_link_libraries(sws_${M_NAME} PRIVATE ${CMAKE_DL_LIBS})
    endforeach()
endfunction()

# sws_soname(RESULT LIBRARY...): the name by which the first library is loaded at run time.
function(sws_soname result libraries)
    list(GET libraries 0 library)
    execute_process(COMMAND ${CMAKE_OBJDUMP} -p ${library} OUTPUT_VARIABLE facts
        COMMAND_ERROR_IS_FATAL ANY)
    if(NOT facts MATCHES "SONAME +([^ \n]+)")
        message(FATAL_ERROR "${library} has no soname")
    endif()
    set(${result} ${CMAKE_MATCH_1} PARENT_SCOPE)
endfunction()

# cmocka's macros and callbacks do not keep to the house's warnings.
add_library(sws_test_flags INTERFACE)
target_compile_options(sws_test_flags INTERFACE -Wno-conversion -Wno-sign-conversion
    -Wno-missing-prototypes -Wno-unused-parameter)

# sws_unit_test(NAME name SOURCES file... USES folder... LIBRARIES pkg-config-name...): a cmocka
# program under ctest.
function(sws_unit_test)
    cmake_parse_arguments(T "" "NAME" "SOURCES;USES;LIBRARIES" ${ARGN})
    add_executable(test_${T_NAME} ${T_SOURCES})
    target_link_libraries(test_${T_NAME} PRIVATE sws_flags)
    foreach(folder ${T_USES})
        target_link_libraries(test_${T_NAME} PRIVATE sws_${folder})
    endforeach()
    target_link_libraries(test_${T_NAME} PRIVATE sws_test_flags)
    sws_link_libraries(test_${T_NAME} PRIVATE cmocka ${T_LIBRARIES})
    add_test(NAME ${T_NAME} COMMAND test_${T_NAME} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${T_NAME} PROPERTIES TIMEOUT 120)
endfunction()
