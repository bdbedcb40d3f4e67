"""The campaign file: read, checked, and every fault in it reported at once."""

from active_learning.config.reading import CampaignFile, read_campaign_file, read_header
from active_learning.config.spec import CampaignSpec, PluginTable

__all__ = ["CampaignFile", "CampaignSpec", "PluginTable", "read_campaign_file", "read_header"]
