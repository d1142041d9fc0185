async def test_it(world):
    print({k: len(v) for k, v in world.alpha.ids.items()})
