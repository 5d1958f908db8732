"""What the twin says, in English: one sentence a kind of event or alarm, and the facts that it is filled from.

An event's text is its sentence filled with its facts, so that a page has every fact that it needs to say the same in
another language (``web/words/*/events.json`` has the same keys: ``event.<kind>`` or ``event.<kind>.<variant>``, and
``alarm.<kind>`` alike). ``{label}`` is the channel's name, which a page fills by itself where it knows the channel.
Numbers are ready strings, their unit is a fact of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from twin_engine.messages import Event

SENTENCES: dict[str, str] = {
    "event.gap-opened": "{label}: no reading for {seconds} s; the twin shows its estimate",
    "event.gap-opened.withheld": "{label}: no reading for {seconds} s; it is too unsure to show an estimate",
    "event.gap-closed": "{label}: measured again after {seconds} s; revised",
    "event.withheld": "{label}: too unsure for an honest value; withheld",
    "event.quarantined": "{label}: {value} {unit} is outside {low} to {high}; shown as it came, marked as distrusted",
    "event.quality": "{label}: {reason}",
    "event.quality.recovered": "{label}: the signal is no longer bad",
    "event.drift": "{label}: the model fits this person less well; {reason}",
    "event.fault": "a fault of the engine: some of this patient's samples can't be shown. The engine's log says why.",
    "event.clock-back": "The engine's clock was ahead by {seconds} s and was set right: the trace begins anew here. "
    "What was shown meanwhile bears times that are too late; it is set aside for six hours and not shown as the past.",
    "event.refused": "Refused a message of {device} ({reason}): {detail}",
    "event.refused.forged": "Refused a forged message in the name of {device}: its seal does not match. "
    "No value was taken from it.",
    "event.refused.revoked": "The certificate of {device} was revoked. It is cut off; no value is taken from it.",
    "event.device": "device {device} sends {names}, of which no signal row is known; not shown",
    "event.device.claimed": "device {device} sends {label}, which {owner} measures already; left out",
    "event.assigned": "device {device} now speaks for this patient",
    "event.released": "device {device} no longer speaks for this patient",
    "event.admitted": "admitted to {bed}",
    "event.edited": "card corrected: {fields}",
    "event.transferred": "moved from {from} to {to}",
    "event.discharged": "discharged from {bed}",
    "event.limits-changed": "alarm limits of {label} changed: {limits}",
    "event.command": "{device} confirms: {command}",
    "event.command.plugged": "{device} confirms: {names} plugged in",
    "event.command.unplugged": "{device} confirms: {names} unplugged",
    "event.command.failed": "{device} did not carry out '{command}' (status {status}); nothing changed",
    "event.command.unproven": "What came as the answer of {device} to '{command}' was not proven to be its own "
    "(status {status}). It counts nothing.",
    "event.command.unanswered": "{device} gave no answer to '{command}' (status {status}). "
    "Whether it was carried out is not proven.",
    "event.command.set": "{device} was told a setting: {command}",
    "event.alarm-raised.limit-high": "{label} high: {value} {unit}, limit {limit} {unit}",
    "event.alarm-raised.limit-low": "{label} low: {value} {unit}, limit {limit} {unit}",
    "event.alarm-raised.limit-high.bad": "{label} high: {value} {unit}, limit {limit} {unit}; bad signal: {quality}",
    "event.alarm-raised.limit-low.bad": "{label} low: {value} {unit}, limit {limit} {unit}; bad signal: {quality}",
    "event.alarm-raised.silent": "{label}: sensor silent",
    "event.alarm-raised.silent.device": "{device} is silent: none of its sensors speaks",
    "event.alarm-raised.silent.never": "{device} has sent nothing since it was assigned",
    "event.alarm-raised.withheld": "{label}: sensor silent, no honest value",
    "event.alarm-raised.withheld.device": "{device} is silent: none of its sensors speaks, no honest value",
    "event.alarm-raised.distrusted": "{label}: readings distrusted, {value} {unit} is outside {low} to {high}",
    "event.alarm-raised.distrusted.crisis": "{label}: readings distrusted and beyond the crisis limit {limit} {unit}: "
    "{value} {unit} is outside {low} to {high}",
    "event.alarm-raised.bad-signal": "{label}: bad signal, {quality}",
    "event.alarm-raised.clock": "the engine's clock and that of {device} disagree by {seconds} s: its readings come "
    "late, or the engine's clock is ahead",
    "event.alarm-raised.clock.behind": "the engine's clock is {seconds} s behind that of {device}: its readings lie "
    "in the future",
    "event.alarm-raised.refused": "a message of {device} was refused ({reason})",
    "event.alarm-over.limit-high": "{label} measured within its limits again: {now} {unit}",
    "event.alarm-over.limit-low": "{label} measured within its limits again: {now} {unit}",
    "event.alarm-over.limit-high.latched": "{label} measured within its limits again: {now} {unit}; "
    "the alarm stays until somebody acknowledges it",
    "event.alarm-over.limit-low.latched": "{label} measured within its limits again: {now} {unit}; "
    "the alarm stays until somebody acknowledges it",
    "event.alarm-over.unwatched": "{label}: its limit was switched off or taken away; the alarm ends",
    "event.alarm-over.released": "{label}: {device} no longer speaks for this patient; nobody watches its limits now",
    "event.alarm-over.silent": "{label}: measured again",
    "event.alarm-over.silent.device": "{device} speaks again",
    "event.alarm-over.silent.never": "{device} speaks now",
    "event.alarm-over.silent.replaced": "what {device} measured is measured by another device now; "
    "{device} itself has not measured again",
    "event.alarm-over.distrusted": "{label}: readings trusted again",
    "event.alarm-over.bad-signal": "{label}: signal no longer bad",
    "event.alarm-over.clock.device": "the clocks of the engine and of {device} agree again",
    "event.alarm-acknowledged.limit-high": "{who} acknowledged: {label} high",
    "event.alarm-acknowledged.limit-low": "{who} acknowledged: {label} low",
    "event.alarm-acknowledged.silent": "{who} acknowledged: {label} silent",
    "event.alarm-acknowledged.silent.device": "{who} acknowledged: {device} silent",
    "event.alarm-acknowledged.distrusted": "{who} acknowledged: {label} distrusted",
    "event.alarm-acknowledged.bad-signal": "{who} acknowledged: {label} bad signal",
    "event.alarm-acknowledged.clock.device": "{who} acknowledged: the clocks of the engine and of {device} disagree",
    "event.alarm-acknowledged.refused": "{who} acknowledged: refused messages ({count})",
    "event.audio-paused": "{who} paused the alarm sound for {seconds} s",
    "event.audio-resumed": "{who} switched the alarm sound on again",
    "event.audio-resumed.ended": "the pause of the alarm sound is over",
    "event.audio-resumed.broken": "a new alarm of high priority ended the pause of the alarm sound",
    "event.act-refused": "{who} asked for '{act}', which can't be done to an alarm; nothing changed",
    "event.act-refused.alarm": "{who} acknowledged an alarm that is not there any more; nothing changed",
    "event.act-refused.alarm.some": "{who} also acknowledged what is not there any more ({count}); "
    "the other alarms are acknowledged",
    "event.act-refused.seconds": "{who} asked for a pause of other than {least} to {most} s; nothing changed",
    "event.act-refused.record": "{who} asked for '{act}', which was not carried out: {detail}",
    "alarm.limit-high": "{label} high: {value} {unit}, limit {limit} {unit}",
    "alarm.limit-low": "{label} low: {value} {unit}, limit {limit} {unit}",
    "alarm.limit-high.bad": "{label} high: {value} {unit}, limit {limit} {unit}; bad signal: {quality}",
    "alarm.limit-low.bad": "{label} low: {value} {unit}, limit {limit} {unit}; bad signal: {quality}",
    "alarm.limit-high.unmeasured": "{label} high when last measured: {value} {unit}, limit {limit} {unit}",
    "alarm.limit-low.unmeasured": "{label} low when last measured: {value} {unit}, limit {limit} {unit}",
    "alarm.limit-high.over": "{label} was high: {value} {unit}, limit {limit} {unit}",
    "alarm.limit-low.over": "{label} was low: {value} {unit}, limit {limit} {unit}",
    "alarm.silent": "{label}: sensor silent. The shown value is synthesised.",
    "alarm.silent.device": "{device} is silent: none of its sensors speaks. Shown values are synthesised.",
    "alarm.silent.never": "{device} has sent nothing since it was assigned. It measures nothing.",
    "alarm.withheld": "{label}: sensor silent. No honest value: withheld.",
    "alarm.withheld.device": "{device} is silent: none of its sensors speaks. No honest values: withheld.",
    "alarm.distrusted": "{label}: readings distrusted, {value} {unit} is outside {low} to {high}. "
    "The raw value is shown in amber.",
    "alarm.distrusted.crisis": "{label}: readings distrusted, and beyond the crisis limit {limit} {unit} if true: "
    "{value} {unit}, outside {low} to {high}. "
    "Look at the patient first. The raw value is shown in amber.",
    "alarm.bad-signal": "{label}: bad signal, {quality}",
    "alarm.clock": "The engine's clock and that of {device} disagree by {seconds} s. Its readings are shown at the "
    "device's time, and may not be shown as the present. Check the time service.",
    "alarm.clock.behind": "The engine's clock is {seconds} s behind that of {device}. Silence is noticed too late. "
    "Check the time service.",
    "alarm.refused": "A message of {device} was refused ({reason}). No value was taken from it.",
    "alarm.refused.many": "{count} messages were refused, the last of {device} ({reason}). "
    "No value was taken from them.",
}


def sentence(key: str, facts: Mapping[str, str]) -> str:
    """The English text of `key`, such as ``event.gap-opened``, or of its variant where the facts name one."""
    variant = facts.get("variant")
    return SENTENCES[f"{key}.{variant}" if variant else key].format(**facts)


def told(t_ms: int, kind: str, severity: str, channel: str = "", label: str = "", who: str = "", **facts: str) -> Event:
    """An event with its sentence and the facts of that. `label` names the channel, for who knows no better word."""
    facts |= {name: text for name, text in (("who", who), ("label", label)) if text}
    facts = {name: text for name, text in facts.items() if name != "variant" or text}
    return Event(t_ms, kind, severity, sentence(f"event.{kind}", facts), channel, who, facts)


def number(value: float) -> str:
    """A measured number as the text has it."""
    return f"{value:g}"
