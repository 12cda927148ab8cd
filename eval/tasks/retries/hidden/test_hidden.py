import unittest

from retries import retry


class HiddenTest(unittest.TestCase):
    def fail(self, kind, tries):
        calls, slept = [], []

        def call():
            calls.append(1)
            raise kind(len(calls))

        with self.assertRaises(kind) as raised:
            retry(call, tries, 0.5, slept.append)
        return len(calls), len(slept), raised.exception.args

    def test_the_last_error_comes_out(self):
        self.assertEqual(self.fail(OSError, 3), (3, 2, (3,)))
        self.assertEqual(self.fail(ValueError, 1), (1, 0, (1,)))

    def test_interrupts_pass(self):
        self.assertEqual(self.fail(KeyboardInterrupt, 3), (1, 0, (1,)))
