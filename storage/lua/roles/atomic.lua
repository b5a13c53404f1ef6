-- One call, one transaction: all of `f` is written, or none of it.

return function(f, ...)
    box.begin()
    local result = {pcall(f, ...)}
    if not result[1] then
        box.rollback()
        error(result[2], 0)
    end
    box.commit()
    return unpack(result, 2, table.maxn(result))
end
