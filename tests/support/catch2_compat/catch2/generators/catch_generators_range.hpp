// See catch_test_macros.hpp beside this folder.
#pragma once
#include <catch2/catch.hpp>
