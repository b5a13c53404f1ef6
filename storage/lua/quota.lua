-- How much memory Tarantool may take from the machine. It takes slabs of 16 MB, for rows and for indexes apart, and never
-- fills them quite: so it gets more than what is configured, which is for data (roles/memory.lua counts that).
--
-- Without a free slab for its indexes it refuses every insert and update of every space, even those that end work: a
-- lease, a report, an archive's entry. Then nothing would ever be freed. So at its first refusals it gets another slab.

local log = require('log')
local quota = {}

local SLAB = 16 * 1024 * 1024
local SLACK = 2 * SLAB -- with less, an instance whose memory is full of data might find no room for them when it starts
local LOANS = 2 -- slabs

local configured

-- `bytes`: for data. Returns the setting for Tarantool; it cannot be lowered as long as the instance runs.
function quota.start(bytes)
    configured = bytes
    return bytes + SLACK
end

-- Bytes for data.
function quota.configured()
    configured = configured or box.cfg.memtx_memory
    return configured
end

-- Tarantool has refused a row for lack of memory.
function quota.lend()
    if box.cfg.memtx_memory < quota.configured() + SLACK + LOANS * SLAB then
        box.cfg({memtx_memory = box.cfg.memtx_memory + SLAB})
        log.warn('no memory in free slabs: may take %d MB now, for work under way', box.cfg.memtx_memory / 1024 / 1024)
    end
end

return quota
