"""``gymnasium.make("snn_rl.partial:CartPoleNoVel-v1")``: importing this module registers the tasks that hide something.

Gymnasium imports what stands before the colon. The tasks themselves are in :mod:`snn_rl.tasks.partial`.
"""

from snn_rl.tasks.catalogue import register

register()
