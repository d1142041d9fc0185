"""A subject begins, or ends, to count for a subscription item."""

from __future__ import annotations

from services.metering.application.ports import UnitOfWork
from services.metering.domain.subject_binding import SubjectBinding, changes_between


async def bind_subject(binding: SubjectBinding, *, uow: UnitOfWork) -> bool:
    """Keep the newest version of a binding, in whatever order they come; says whether it was news.

    Windows of the time concerned that are no longer open are counted again.
    """
    await uow.usage.share()  # a window that closes now waits for us, or is seen to be due
    before = await uow.bindings.find_for_update(binding.id)
    if before is not None and before.version >= binding.version:
        return False
    if before is None:
        uow.bindings.add(binding)
    else:
        uow.bindings.save(binding)
    uow.late.note_binding(changes_between(before, binding))
    uow.balances.note({binding.item_id} if before is None else {before.item_id, binding.item_id})
    uow.record("subject.bound", binding.id, binding.version)
    return True
