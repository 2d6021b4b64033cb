from a2a_core.testing import suite

test_plugin = suite("a2a-deepspeed")
