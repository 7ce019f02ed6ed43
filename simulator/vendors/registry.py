"""All vendors that can be simulated. A further one is a package beside these and a line here."""

from simulator.demo import Step
from simulator.protocol import Vendor
from simulator.tasks import App
from simulator.vendors.tencent import demo as tencent_demo
from simulator.vendors.tencent.vendor import Tencent
from simulator.vendors.volcengine import demo as volcengine_demo
from simulator.vendors.volcengine.vendor import Volcengine

VENDORS: tuple[type[Vendor], ...] = (Volcengine, Tencent)

#: Apps and accounts of the demonstration: public, and good for nothing else.
DEMO_APPS: tuple[App, ...] = (volcengine_demo.APP, tencent_demo.APP)
DEMO_STEPS: tuple[Step, ...] = (*volcengine_demo.STEPS, *tencent_demo.STEPS)
