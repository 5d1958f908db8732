"""Signal quality: is the recent past of a channel a normal recording, or an electrode that fell off?

:func:`judge` looks at one channel's recent past and says "good", "doubtful" or "bad", with the rule that decided and a
sentence with the number seen. While a channel is not good it neither scores shadow forecasts nor learns, and its tile
says why; its values are still shown as measured. Whether a reading is *distrusted* is the threat detectors' business.

The rules are rows in :mod:`twin_engine.quality.table`; what they measure is in :mod:`twin_engine.quality.marks`. The
laboratory runs the same rows over whole recordings before training (:mod:`twin_engine.lab.normal`), so what the model
never learnt from is what the screen calls bad. docs/normal.md says what each rule excludes, and how much of it.
"""

from twin_engine.quality.verdict import GOOD, Finding, Quality, find, judge

__all__ = ["GOOD", "Finding", "Quality", "find", "judge"]
