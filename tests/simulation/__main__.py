"""python -m tests.simulation"""

from tests.simulation.campaign import main

main()
