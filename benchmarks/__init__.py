"""Speed, measured against tshark and pyshark in the same run. Ratios matter; absolute figures move."""
