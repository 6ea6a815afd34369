// Doubly linked list whose links live in the elements: no allocation, removal in O(1) from wherever the element is.
//
// An element is in at most one list per link; destroying it unlinks it. Not thread-safe.
#pragma once

namespace weft {

class ListLink {
 public:
  ListLink() = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  ~ListLink() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (!next_) return;
    next_->prev_ = prev_;
    prev_->next_ = next_;
    next_ = prev_ = nullptr;
  }

 private:
  template <typename T>
  friend class IntrusiveList;
  ListLink* next_ = nullptr;
  ListLink* prev_ = nullptr;
};

// T derives publicly from ListLink.
template <typename T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next_ = head_.prev_ = &head_; }
  ~IntrusiveList() {
    while (!empty()) head_.next_->unlink();
    head_.next_ = head_.prev_ = nullptr;
  }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  void push_back(T& element) {
    ListLink& link = element;
    link.unlink();
    link.prev_ = head_.prev_;
    link.next_ = &head_;
    head_.prev_->next_ = &link;
    head_.prev_ = &link;
  }
  // The first element; the list must not be empty.
  T& front() { return static_cast<T&>(*head_.next_); }
  T& pop_front() {
    T& element = front();
    static_cast<ListLink&>(element).unlink();
    return element;
  }

  // Calls `visit(element)` for each; `visit` may unlink the element it is given, no other.
  template <typename F>
  void for_each(F visit) {
    for (ListLink* link = head_.next_; link != &head_;) {
      ListLink* next = link->next_;
      visit(static_cast<T&>(*link));
      link = next;
    }
  }

 private:
  ListLink head_;
};

}  // namespace weft
