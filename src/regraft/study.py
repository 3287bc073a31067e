"""The study: one question, one budget, one verdict. The flow of the whole system reads here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from regraft.backbones.loading import load_backbone
from regraft.config.spec import resolved
from regraft.deploy.predictor import GraftPredictor
from regraft.deploy.proof import prove
from regraft.engine.device import choose_device, choose_precision
from regraft.evidence.record import Evidence, build_record
from regraft.evidence.verdict import confirm
from regraft.features.store import Cache
from regraft.hashing import digest_json
from regraft.ledger.ledger import Ledger
from regraft.measure.metrics import METRICS
from regraft.report.page import write_report
from regraft.search.arms import study_arms
from regraft.search.bench import Bench
from regraft.search.clock import Clock
from regraft.search.final import Final, arm_logits, finalists, open_sealed, run_logits
from regraft.search.grafting import winner_graft
from regraft.search.label_efficiency import BudgetRun, budget_events, efficiency_arms
from regraft.search.ladder import ArmOutcome, Ladder
from regraft.tasks.task import Task, read_task

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from regraft.config.study import StudySpec
    from regraft.events import Event
    from regraft.evidence.verdict import Verdict

logger = logging.getLogger(__name__)
