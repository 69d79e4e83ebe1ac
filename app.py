"""Start the app: pictures of mathematics to LaTeX, in the browser, on this computer.

python app.py
python app.py --port 8000 --checkpoint my-writing --auth ada:secret
"""

import sys

from hmer.ui.serve import main

if __name__ == "__main__":
    sys.exit(main())
