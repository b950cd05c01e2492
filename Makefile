# SPDX-License-Identifier: Apache-2.0
# The commands a person needs; CMake does the building. `make` alone says what there is.

BUILD := build
CMAKE := cmake -G Ninja
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
# Debian's, because pytest and httpx come from Debian.
PYTHON := /usr/bin/python3

.PHONY: help run build test unit e2e soak sanitize threads fuzz bench micro lint format docs deps clean

help:
	@echo "make run      build what is needed and serve the example on http://localhost:8080"
	@echo "make build    build build/release/sws"
	@echo "make test     run every test (also: unit, e2e, sanitize, threads)"
	@echo "make bench    measure beside nginx and h2o; make micro: the small benchmarks"
	@echo "make fuzz     run every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS)"
	@echo "make soak     run the real program under a mixture of everything for" \
		"SOAK_SECONDS=$(SOAK_SECONDS)"
	@echo "make lint     formatting, layers, static analysis; make format: mend the formatting"
	@echo "make docs     write the generated pages again"

deps:
	@tools/install-deps build

deps-test:
	@tools/install-deps build test

deps-bench:
	@tools/install-deps build bench

build: deps
	@$(CMAKE) -S . -B $(BUILD)/release -DCMAKE_BUILD_TYPE=Release > /dev/null
	@cmake --build $(BUILD)/release --target sws

run: build
	@$(BUILD)/release/sws serve examples/welcome --port 8080

test: deps-test unit sanitize threads e2e

unit: deps-test
	@$(CMAKE) -S . -B $(BUILD)/release -DCMAKE_BUILD_TYPE=Release > /dev/null
	@cmake --build $(BUILD)/release
	@ctest --test-dir $(BUILD)/release --output-on-failure -j2

# The same tests with every object its own heap block, under AddressSanitizer and UBSan.
sanitize: deps-test
	@$(CMAKE) -S . -B $(BUILD)/asan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang \
		-DSWS_POOLS=OFF -DSWS_SANITIZE=address,undefined > /dev/null
	@cmake --build $(BUILD)/asan
	@ctest --test-dir $(BUILD)/asan --output-on-failure -j2

# What runs on several threads, under ThreadSanitizer.
threads: deps-test
	@$(CMAKE) -S . -B $(BUILD)/tsan -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang \
		-DSWS_SANITIZE=thread > /dev/null
	@cmake --build $(BUILD)/tsan
	@ctest --test-dir $(BUILD)/tsan --output-on-failure -R 'loop|log|crypto_threads|edge_upstream'

# The real program, built with the sanitizers, and clients that other people wrote.
e2e: deps-test sanitize
	@SWS=$(BUILD)/asan/sws $(PYTHON) -m pytest -q tests/e2e

# SWS=build/asan/sws soaks the program that make sanitize built.
soak: deps-test build
	@SWS=$(or $(SWS),$(BUILD)/release/sws) SOAK_SECONDS=$(SOAK_SECONDS) \
		$(PYTHON) tests/soak/soak.py

fuzz: deps-test
	@$(CMAKE) -S . -B $(BUILD)/fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang \
		-DSWS_POOLS=OFF -DSWS_FUZZ=ON -DSWS_SANITIZE=address,undefined,fuzzer-no-link > /dev/null
	@cmake --build $(BUILD)/fuzz
	@tools/run-fuzz $(BUILD)/fuzz $(FUZZ_SECONDS)

bench: deps-bench build
	@$(CMAKE) -S . -B $(BUILD)/release -DCMAKE_BUILD_TYPE=Release -DSWS_BENCH=ON > /dev/null
	@cmake --build $(BUILD)/release
	@$(PYTHON) bench/run.py --sws $(BUILD)/release/sws --floor $(BUILD)/release/bench/floor

micro: deps-bench
	@$(CMAKE) -S . -B $(BUILD)/release -DCMAKE_BUILD_TYPE=Release -DSWS_BENCH=ON > /dev/null
	@cmake --build $(BUILD)/release
	@for program in $(BUILD)/release/bench/micro_*; do $$program; done

lint: deps-test
	@tools/check-format
	@tools/check-layers
	@tools/check-docs

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

docs: build
	@tools/check-docs --write

clean:
	@rm -rf $(BUILD)
