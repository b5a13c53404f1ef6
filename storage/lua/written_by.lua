-- Which Tarantool wrote a data folder: it reads what an older one wrote, but not what a newer one did, and what it says
-- then helps nobody.

local fio = require('fio')

local written_by = {}

local HEADER = 512 -- bytes

-- 2 * 1000 + 11 for '2.11.9-0-g…'.
local function series(version)
    local major, minor = tostring(version):match('^(%d+)%.(%d+)')
    return major and tonumber(major) * 1000 + tonumber(minor) or 0
end

-- The version in the newest snapshot's header, or nil.
local function of(folder)
    local snapshots = fio.glob(fio.pathjoin(folder, '*.snap'))
    table.sort(snapshots)
    local file = #snapshots > 0 and fio.open(snapshots[#snapshots], {'O_RDONLY'})
    if not file then
        return nil
    end
    local header = file:read(HEADER)
    file:close()
    return header:match('\nVersion: (%S+)')
end

-- Raise an error if a newer series wrote it.
function written_by.check(folder)
    local version = of(folder)
    if version ~= nil and series(version) > series(_TARANTOOL) then
        error(('the data folder was written by Tarantool %s, and this is %s, which does not read it: start the newer one, ' ..
               'or restore a backup from before'):format(version, _TARANTOOL), 0)
    end
end

return written_by
