"""What all services share: money, periods, clock, ids and errors here; frameworks only in sub-folders."""
