"""Checks that an interrupted run ends where an undisturbed one does: `python -m unittest test_train`."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np

import train

SMALL_MODEL = train.MODEL | {"dim": 32, "layers": 1, "heads": 2, "kv_heads": 1, "ffn": 32}
VOCABULARY = 16


def random_rows():
    rng = np.random.default_rng(1)
    arrays = {}
    for kind, length in (("short", 8), ("long", 16)):
        arrays[f"{kind}_tok"] = rng.integers(0, VOCABULARY, (12, length)).astype(np.int16)
        arrays[f"{kind}_seg"] = np.zeros((12, length), np.int16)
        weights = np.ones((12, length), np.int16)
        weights[:, -1] = 0
        arrays[f"{kind}_wgt"] = weights
    return arrays


class Interrupted(Exception):
    pass


def weights_of(run):
    with np.load(run / "moonlet.npz") as stored:
        return {name: stored[name].copy() for name in stored.files}


class Resume(unittest.TestCase):
    def setUp(self):
        settings = {"MODEL": SMALL_MODEL, "STEPS": 6, "DECAY_STEPS": 4, "TOKENS_PER_STEP": 32, "LEARNT_PER_STEP": 32,
                    "CHECKPOINT_STEPS": 2}
        for name, value in settings.items():
            patch = mock.patch.object(train, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def run_to(self, folder, interrupt_at=None):
        """Train in `folder`, raising in place of batch number `interrupt_at`."""
        original, made = train.make_batch, []

        def make_batch(*arguments):
            made.append(arguments)
            if len(made) == interrupt_at:
                raise Interrupted
            return original(*arguments)

        with mock.patch.object(train, "make_batch", make_batch):
            train.train(random_rows(), VOCABULARY, Path(folder))
        return len(made)

    def test_resuming_ends_at_the_same_weights(self):
        with tempfile.TemporaryDirectory() as straight, tempfile.TemporaryDirectory() as resumed:
            self.assertEqual(self.run_to(straight), 6)
            with self.assertRaises(Interrupted):
                self.run_to(resumed, interrupt_at=6)
            before = weights_of(Path(resumed))
            self.assertEqual(self.run_to(resumed), 2)
            expected, found = weights_of(Path(straight)), weights_of(Path(resumed))
            for name, weights in expected.items():
                np.testing.assert_array_equal(found[name], weights, name)
            self.assertTrue(any((before[name] != found[name]).any() for name in expected))


if __name__ == "__main__":
    unittest.main()
