"""The table of simulated vendors. A further vendor is a package beside this module and a line here."""

from simulator.demo import Step
from simulator.protocol import Vendor
from simulator.tasks import App
from simulator.vendors.tencent import demo as tencent_demo
from simulator.vendors.tencent.vendor import Tencent
from simulator.vendors.volcengine import demo as volcengine_demo
from simulator.vendors.volcengine.vendor import Volcengine

#: The classes of all simulated vendors.
VENDORS: tuple[type[Vendor], ...] = (Volcengine, Tencent)

#: Apps and accounts of the demonstration; their secrets are public.
DEMO_APPS: tuple[App, ...] = (volcengine_demo.APP, tencent_demo.APP)
DEMO_STEPS: tuple[Step, ...] = (*volcengine_demo.STEPS, *tencent_demo.STEPS)
