"""What can go wrong around a suite, apart from what the services themselves answer (`PenstockError`).

SuiteError
├── ModeError                a setting names no way to run the suite
├── EngineUnavailableError   Docker was asked for, and no engine answers
├── ImageUnavailableError    an image is neither on the engine nor to be pulled
├── PartFailedError          a part could not be started, stopped or killed, or never served
├── RecorderError            the recorder could not listen, or a test's own decision raised
└── WaitError                what a test waited for did not come; also a TimeoutError
"""


class SuiteError(Exception):
    """The root of the tree. The message tells what, where, and what to do."""


class ModeError(SuiteError):
    """A setting names no way to run the suite."""


class EngineUnavailableError(SuiteError):
    """Docker was asked for, and no engine answers."""


class ImageUnavailableError(SuiteError):
    """An image is neither on the engine nor to be pulled."""


class PartFailedError(SuiteError):
    """A part could not be started, stopped or killed, or it never served; the end of its log is in the message."""


class RecorderError(SuiteError):
    """The recorder could not listen, or the function that decides for it raised."""


class WaitError(SuiteError, TimeoutError):
    """What a test waited for did not come in time; the message says what came instead."""
