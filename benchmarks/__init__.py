"""Speed, measured against tshark and pyshark in the same run. Ratios matter; absolute figures move."""

import sensor  # noqa: F401  before numpy is loaded: it sets how numpy takes memory, as in the program itself
