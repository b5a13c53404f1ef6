-- Version 2: the ledger keeps who is settled of a page by id. `ended`: a set of ids, see campaigns/id_set.py.

local id_ranges = require('roles.store.steps.id_ranges')

return function()
    local pages = box.space.store_pages
    local format = pages:format()
    format[13] = {name = 'ended', type = 'array'}
    for _, state in ipairs({'claimed', 'enqueued', 'open'}) do
        for _, page in ipairs(pages.index.state:select({state})) do
            local ended = {}
            for _, span in ipairs(page[13]) do
                for _, number in ipairs(id_ranges.settled(unpack(span, 1, 4))) do
                    table.insert(ended, number)
                end
            end
            pages:update({page[1], page[2], page[3]}, {{'=', 13, ended}})
        end
    end
    pages:format(format)
end
