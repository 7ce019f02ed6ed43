"""All vendors that can be simulated. A further one is a package beside these and a line here."""

from adapters.simulator.demo import Step
from adapters.simulator.protocol import Vendor
from adapters.simulator.tasks import App
from adapters.simulator.vendors.tencent import demo as tencent_demo
from adapters.simulator.vendors.tencent.vendor import Tencent
from adapters.simulator.vendors.volcengine import demo as volcengine_demo
from adapters.simulator.vendors.volcengine.vendor import Volcengine

VENDORS: tuple[type[Vendor], ...] = (Volcengine, Tencent)

#: Apps and accounts of the demonstration: public, and good for nothing else.
DEMO_APPS: tuple[App, ...] = (volcengine_demo.APP, tencent_demo.APP)
DEMO_STEPS: tuple[Step, ...] = (*volcengine_demo.STEPS, *tencent_demo.STEPS)
