"""`recado apply`: merchants from YAML, with the campaigns that their notifications need."""

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from recado.campaigns.service import CampaignService
from recado.campaigns.templates import check_text
from recado.clock import Clock
from recado.merchants.schemas import MerchantsFile
from recado.merchants.service import Applied, apply_merchants, read_merchants


def read_file(path: Path) -> MerchantsFile:
    """Read and check a YAML file. Raises ConfigurationError, each problem with its line and reason."""
    return read_merchants(path, check_text)


async def apply_file(session: AsyncSession, clock: Clock, file: MerchantsFile) -> Applied:
    """Make the database say what the file says, and create and enable each merchant's service campaigns.

    Raises ConfigurationError.
    """
    applied = await apply_merchants(session, clock, file)
    for merchant in applied.merchants:
        if enabled := await CampaignService(session, merchant.id, clock).create_default():
            applied.lines.append(f"service campaigns of {merchant.sub_domain}: {len(enabled)} enabled")
    return applied
