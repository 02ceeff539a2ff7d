import sys
from pkg import greet
print(greet.text(sys.argv))
